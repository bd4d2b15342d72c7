//go:build !nocluster

package cli

import (
	"context"
	"errors"
	"log/slog"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/cluster"
	"ringcast/loop"
)

// This file is where the program meets package cluster, and with it NATS. The build tag nocluster leaves both out.

// hasCluster says whether this program can be a node of a cluster.
const hasCluster = true

var _ cluster.Hub = (*loop.Hub)(nil) // the hub of a server is one, but a test's need not be

// joinCluster makes a server a node of the cluster of its settings.
func joinCluster(ctx context.Context, s settings.Cluster, h hub, log *slog.Logger) (clusterNode, error) {
	of, is := h.(cluster.Hub)
	if !is {
		return nil, errors.New("this hub takes no orderer")
	}
	joined, err := cluster.Open(ctx, clusterConfig(&s, log), of)
	var wrong *cluster.ConfigError
	switch {
	case errors.As(err, &wrong):
		return nil, settings.Usagef("%v", wrong)
	case err != nil:
		return nil, err
	}
	return joinedNode{joined}, nil
}

// clusterConfig is the configuration of package cluster that settings say.
func clusterConfig(s *settings.Cluster, log *slog.Logger) cluster.Config {
	return cluster.Config{
		Name: s.Name, Node: s.Node, Listen: s.Listen, Peers: s.Peers, Token: s.Token,
		TLS:      cluster.TLS{Cert: s.TLSCert, Key: s.TLSKey, CA: s.CA},
		StoreDir: s.StoreDir, Sync: s.Sync, NATS: s.NATS,
		Replicas: s.Replicas, Partitions: s.Partitions, StoreMax: s.StoreMax, Wait: s.Wait,
		HistoryMax: s.HistoryMax, TTLMax: s.TTLMax, MessageMax: s.MessageMax, Version: versionText(), Log: log,
	}
}

// joinedNode is a cluster.Cluster as the rest of the program knows it.
type joinedNode struct{ *cluster.Cluster }

// Everywhere is part of clusterNode.
func (j joinedNode) Everywhere() api.Doing { return j.Cluster.Everywhere() }

// Status is that of the cluster, in the words of package api, which knows no cluster.
func (j joinedNode) Status() api.ClusterStatus {
	return statusOfCluster(j.Cluster.Status(), j.Cluster.Everywhere().Heard())
}

// Nodes is likewise that of the nodes alone.
func (j joinedNode) Nodes() (nodes []api.ClusterNode) {
	for _, n := range j.Cluster.Nodes() {
		nodes = append(nodes, api.ClusterNode(n))
	}
	return nodes
}

func statusOfCluster(s cluster.Status, heard cluster.Heard) api.ClusterStatus {
	to := api.ClusterStatus{
		Name: s.Name, Node: s.Node, Ready: s.Ready, Trouble: s.Trouble,
		Offered: s.Offered, Ordered: s.Ordered, Refused: s.Refused, Repeated: s.Repeated,
		HolesFilled: s.HolesFilled, HoleMessages: s.HoleMessages, HoleLost: s.HoleLost,
		Recalls: s.Recalls, RecallsFailed: s.RecallsFailed, RecallsRefused: s.RecallsBusy,
		Resends: s.Resends, Batches: s.Batches, FastSent: s.FastSent, FastHeard: s.FastHeard, FastLost: s.FastLost,
		SlowReads: s.SlowReads, Strange: s.Strange, StoreBytes: s.StoreBytes,
		PresenceLists: heard.Lists, PresenceOverflows: heard.Overflows, PresenceHoles: heard.Holes, PresenceStrange: heard.Strange,
	}
	for _, n := range s.Nodes {
		to.Nodes = append(to.Nodes, api.ClusterNode(n))
	}
	for _, p := range s.Partitions {
		to.Partitions = append(to.Partitions, api.ClusterPartition(p))
	}
	return to
}
