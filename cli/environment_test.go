package cli

import (
	"os"
	"strings"
	"testing"
)

func TestAVariableThatIsNoSettingIsReportedWithTheNearest(t *testing.T) {
	for name, nearest := range map[string]string{
		"RINGCAST_LOOP": "RINGCAST_LOOPS", "RINGCAST_MESAGE_MAX": "RINGCAST_MESSAGE_MAX", "RINGCAST_LISTEN_ADDR": "RINGCAST_LISTEN",
		"RINGCAST_RUNDIR": "RINGCAST_RUN_DIR",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "4")
			t.Setenv("RINGCAST_HEARTBEAT", "9s")
			dir := shortDir(t)
			v := serving(t, newFakeServer(), dir)
			v.asked <- os.Interrupt
			v.exit(t)
			has(t, "log", v.err.String(), "level=WARN", name+" is set but is not a setting; did you mean "+nearest+"?")
			if strings.Contains(v.err.String(), "RINGCAST_HEARTBEAT") {
				t.Errorf("log: got %q, want no complaint about a setting", v.err.String())
			}
		})
	}
}

func TestADaemonsParentReportsSuchAVariableToo(t *testing.T) {
	t.Setenv(childEnv, "serve")
	t.Setenv("RINGCAST_LOOP", "4")
	dir := shortDir(t)
	ended(t, dir)
	status, _, stderr := do(t, "start", "-d", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("start -d: got exit status %d: %s", status, stderr)
	}
	has(t, "standard error", stderr, "RINGCAST_LOOP is set but is not a setting; did you mean RINGCAST_LOOPS?")
	if strings.Contains(stderr, readyEnv) {
		t.Errorf("standard error: got %q, want our own variable not reported", stderr)
	}
	do(t, "stop", "--run-dir", dir.path)
	log, _ := os.ReadFile(dir.path + "/ringcast.log")
	has(t, "log", string(log), "did you mean RINGCAST_LOOPS?")
	if strings.Contains(string(log), readyEnv) {
		t.Errorf("log: got %q, want our own variable not reported", log)
	}
}
