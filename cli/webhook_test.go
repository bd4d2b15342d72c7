package cli

import (
	"fmt"
	"testing"
)

func TestOfEachGroupOneNodeOfAClusterTells(t *testing.T) {
	up := []string{"n1", "n2", "n3"}
	nodes := map[string]*tellers{}
	for _, name := range up {
		nodes[name] = &tellers{node: name}
	}
	const groups = 3000
	before, parts := map[string]string{}, map[string]int{}
	teller := func(group string) (is string) {
		t.Helper()
		for name, node := range nodes {
			node.begin(func() ([]string, bool) { return up, false })
			if node.tells(group) {
				if is != "" {
					t.Fatalf("%s: both %s and %s tell", group, is, name)
				}
				is = name
			}
		}
		return is
	}
	for i := range groups {
		group := fmt.Sprint("presence-", i)
		before[group] = teller(group)
		parts[before[group]]++
	}
	for _, name := range up {
		if parts[name] < groups/4 {
			t.Errorf("got parts %v, want about a third for each", parts)
		}
	}
	up = []string{"n1", "n2"}
	delete(nodes, "n3")
	for group, was := range before {
		if is := teller(group); is == "" || was != "n3" && is != was {
			t.Errorf("%s: told by %q before, and by %q when another node has gone", group, was, is)
		}
	}
	up = nil // the node has left the cluster
	if teller("presence-a") != "" {
		t.Error("a node tells that is in the cluster no more")
	}
}
