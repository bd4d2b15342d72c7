//go:build nocluster

package cli

import (
	"context"
	"errors"
	"log/slog"

	"ringcast/cli/settings"
)

// hasCluster says whether this program can be a node of a cluster. It cannot, so settings refuse the name of one.
const hasCluster = false

func joinCluster(context.Context, settings.Cluster, hub, *slog.Logger) (clusterNode, error) {
	return nil, errors.New("this program was built without the cluster")
}
