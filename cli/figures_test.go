package cli

import (
	"encoding/json"
	"reflect"
	"testing"

	"ringcast/loop"
)

func TestStatusHasEveryFigureOfALoop(t *testing.T) {
	dir := shortDir(t)
	serving(t, newFakeServer(), dir)
	_, stdout, _ := do(t, "status", "--json", "--run-dir", dir.path)
	var got struct {
		Loops []map[string]any
		Total map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Loops) == 0 {
		t.Fatalf("status --json: %v in %s", err, stdout)
	}
	figures := reflect.TypeFor[loop.LoopStats]()
	for i := range figures.NumField() {
		key := figures.Field(i).Tag.Get("json")
		if _, row := got.Loops[0][key]; !row {
			t.Errorf("%s: key %q is missing in a row of %s", figures.Field(i).Name, key, stdout)
		}
		if _, total := got.Total[key]; !total {
			t.Errorf("%s: key %q is missing in the total of %s", figures.Field(i).Name, key, stdout)
		}
	}
}
