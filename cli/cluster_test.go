//go:build !nocluster

package cli

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/cluster"
)

// Bounds stand in package cluster, and in the settings, which may not know it.
func TestSettingsHaveTheBoundsOfTheCluster(t *testing.T) {
	base := []string{"--run-dir", "/r", "--cluster-name", "chat", "--cluster-node", "n1", "--store-dir", "/s"}
	for flag, values := range map[string][3]string{ // the least, the most, and what is just beyond
		"cluster-partitions": {"1", fmt.Sprint(cluster.PartitionsMax), fmt.Sprint(cluster.PartitionsMax + 1)},
		"cluster-wait":       {cluster.WaitMin.String(), cluster.WaitMax.String(), (cluster.WaitMax + 1).String()},
		"store-max":          {fmt.Sprint(cluster.StoreMin), "1GiB", fmt.Sprint(cluster.StoreMin - 1)},
	} {
		for i, value := range values {
			if _, err := parse(t, append(base, "--"+flag, value)...); (err == nil) != (i < 2) {
				t.Errorf("--%s %s: got %v, want it taken %v", flag, value, err, i < 2)
			}
		}
	}
	if s, err := parse(t, base...); err != nil || s.Cluster.Partitions != cluster.PartitionsDefault {
		t.Errorf("partitions by default: got %d, %v, want %d", s.Cluster.Partitions, err, cluster.PartitionsDefault)
	}
}

// filled is a value of a struct with another value in each of its fields.
func filled[T any](t *testing.T) (of T) {
	t.Helper()
	v := reflect.ValueOf(&of).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(fmt.Sprint("text ", i))
		case []string:
			f.Set(reflect.ValueOf([]string{fmt.Sprint("text ", i)}))
		case int, int64, time.Duration:
			f.SetInt(int64(i + 1000))
		case uint64:
			f.SetUint(uint64(i + 1000))
		case bool:
			f.SetBool(true)
		case map[string]uint64:
			f.Set(reflect.ValueOf(map[string]uint64{"cause": uint64(i)}))
		case []cluster.NodeStatus:
			f.Set(reflect.ValueOf([]cluster.NodeStatus{{Name: "n", Up: true, Seen: time.Unix(1, 0)}}))
		case []cluster.PartitionStatus:
			f.Set(reflect.ValueOf([]cluster.PartitionStatus{{Leader: "n", Tip: 1, Lag: 2, Epoch: 3, Queued: 4, Flying: 5}}))
		default:
			t.Fatalf("%T.%s: got a field of type %s, which this test cannot fill", of, v.Type().Field(i).Name, f.Type())
		}
	}
	return of
}

// What package cluster counts and the rest of the program does not show would be seen by nobody.
func TestEverythingThatTheClusterSaysIsShown(t *testing.T) {
	of := filled[cluster.Status](t)
	got := fmt.Sprintf("%+v", statusOfCluster(of, cluster.Heard{Lists: 2001, Overflows: 2002, Holes: 2003, Strange: 2004}))
	v := reflect.ValueOf(of)
	for i := range v.NumField() {
		if text := fmt.Sprintf("%+v", v.Field(i).Interface()); !strings.Contains(got, ":"+text) {
			t.Errorf("%s: got %s, want %s in it", v.Type().Field(i).Name, got, text)
		}
	}
	for n := 2001; n <= 2004; n++ {
		if !strings.Contains(got, fmt.Sprint(":", n)) {
			t.Errorf("what is heard: got %s, want %d in it", got, n)
		}
	}
	// And the other way round: nothing is shown that is never set. The rest is from settings.
	shown := reflect.ValueOf(statusOfCluster(of, cluster.Heard{Lists: 1, Overflows: 1, Holes: 1, Strange: 1}))
	for i := range shown.NumField() {
		switch name := shown.Type().Field(i).Name; name {
		case "Listen", "StoreDir", "StoreMax":
		default:
			if shown.Field(i).IsZero() {
				t.Errorf("%s: got nothing in it", name)
			}
		}
	}
}

func TestTheClusterGetsAllThatSettingsSay(t *testing.T) {
	of := filled[settings.Cluster](t)
	got := reflect.ValueOf(clusterConfig(&of, silent))
	for i := range got.NumField() {
		if field := got.Type().Field(i); field.IsExported() && got.Field(i).IsZero() { // the rest is for the package's own tests
			t.Errorf("%s: got nothing in it", field.Name)
		}
	}
	text := fmt.Sprintf("%+v", got.Interface())
	v := reflect.ValueOf(of)
	for i := range v.NumField() {
		if want := fmt.Sprintf("%v", v.Field(i).Interface()); !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want %s in it", v.Type().Field(i).Name, text, want)
		}
	}
}

var _ api.Doing = (*cluster.Everywhere)(nil)
