package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestReadinessEndsBeforeTheStopBegins(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	var url string
	f.telling = func() { // the hub itself never says that it stops
		if got := answerOf(url + "/readyz"); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "stopping") {
			t.Errorf("readyz when the stop begins: got %q, want 503 and the reason", got)
		}
	}
	v := serving(t, f, dir, "--admin", "127.0.0.1:0")
	url = "http://" + statusNow(t, dir).Admin
	if got := answerOf(url + "/readyz"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("readyz while it serves: got %q, want 200", got)
	}
	has(t, "banner", v.out.String(), url)
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
}

func TestAnIPv4AdminAddressIsNoIPv6Address(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r", "--admin", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := openAdmin(s.Admin, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	has(t, "address", a.addr(), "0.0.0.0:")
}

// answerOf is what a URL answers, or why it does not.
func answerOf(url string) string {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprint(res.StatusCode, " ", string(body))
}
