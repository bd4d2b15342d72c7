//go:build nocluster

package cli

import "testing"

func TestAProgramWithoutTheClusterRefusesToBeANode(t *testing.T) {
	status, _, stderr := do(t, "start", "--run-dir", shortDir(t).path, "--cluster-name", "chat", "--store-dir", t.TempDir())
	if status != statusUsage {
		t.Errorf("exit status: got %d, want %d", status, statusUsage)
	}
	has(t, "message", stderr, `--cluster-name "chat"`, "built without the cluster")
}
