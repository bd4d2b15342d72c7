package settings

import (
	"slices"
	"testing"
)

func TestAVariableThatIsNoSettingIsReportedWithTheNearest(t *testing.T) {
	got := UnknownVariables([]string{"PATH=/bin", "RINGCAST_LOOP=4", "RINGCAST_HEARTBEAT=9s", "RINGCAST_CONFIG=", "RINGCAST_RUNDIR=/r", "RINGCAST_PORT=1234"})
	want := []string{
		"RINGCAST_LOOP is set but is not a setting; did you mean RINGCAST_LOOPS?",
		"RINGCAST_PORT is set but is not a setting; ringcast start --help has all of them",
		"RINGCAST_RUNDIR is set but is not a setting; did you mean RINGCAST_RUN_DIR?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVariablesThatKubernetesAndDockerMakeOfAServiceAreNotReported(t *testing.T) {
	if got := UnknownVariables([]string{
		// Kubernetes, for the services ringcast and ringcast-admin
		"RINGCAST_SERVICE_HOST=10.0.171.239", "RINGCAST_SERVICE_PORT=1234", "RINGCAST_SERVICE_PORT_WS=1234", "RINGCAST_SERVICE_PORT_WS_2=1235",
		"RINGCAST_PORT=tcp://10.0.171.239:1234", "RINGCAST_PORT_1234_TCP=tcp://10.0.171.239:1234", "RINGCAST_PORT_1234_TCP_PROTO=tcp",
		"RINGCAST_PORT_1234_TCP_PORT=1234", "RINGCAST_PORT_1234_TCP_ADDR=fd00::1", "RINGCAST_PORT_53_UDP=udp://[fd00::1]:53", "RINGCAST_PORT_9_SCTP_PROTO=sctp",
		"RINGCAST_ADMIN_SERVICE_HOST=10.0.0.1", "RINGCAST_ADMIN_SERVICE_PORT=1235", "RINGCAST_ADMIN_PORT=tcp://10.0.0.1:1235", "RINGCAST_ADMIN_PORT_1235_TCP_ADDR=10.0.0.1",
		// Docker's links
		"RINGCAST_NAME=/web/ringcast", "RINGCAST_ENV_PATH=/bin", "RINGCAST_ENV_RINGCAST_LOOPS=4", "RINGCAST_PORT_1234_TCP_START=tcp://172.17.0.2:1234",
		"RINGCAST_PORT_1234_TCP_PORT_END=1240", "RINGCAST_PORT_1234_TCP_END=tcp://172.17.0.2:1240",
	}); len(got) != 0 {
		t.Errorf("got %q, want none reported", got)
	}
	for _, misspelt := range []string{
		"RINGCAST_LISTN=x", "RINGCAST_PORT=1234", "RINGCAST_PORT=", "RINGCAST_NAME=chat", "RINGCAST_PORTS=tcp://10.0.0.1:1", "RINGCAST_PORT_TCP=x", "RINGCAST_PORT_1234=x",
		"RINGCAST_SERVICE=x", "RINGCAST_SERVICE_HOSTS=x", "RINGCAST_ENVIRONMENT=x", "RINGCAST_ADMIN_PORT=1235", "RINGCAST_=x",
	} {
		if got := UnknownVariables([]string{misspelt}); len(got) != 1 {
			t.Errorf("%s: got %q, want it reported", misspelt, got)
		}
	}
}

func TestDistanceCountsChanges(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "bc", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q): got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
