package wsproto

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCloseWithoutACodeIsEmpty(t *testing.T) {
	if got, want := AppendClose(nil, 0, "not sent"), unhex(t, "88 00"); !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestCloseCarriesCodeAndReason(t *testing.T) {
	got := AppendClose([]byte("before"), CloseTryAgainLater, "busy")
	if want := "before\x88\x06\x03\xf5busy"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCloseReasonIsCutAtTheBorderOfARune(t *testing.T) {
	for _, test := range []struct {
		reason string
		want   int
	}{
		{strings.Repeat("a", 123), 123},
		{strings.Repeat("a", 124), 123},
		{strings.Repeat("a", 122) + "é", 122},
		{strings.Repeat("a", 121) + "組", 121},
		{strings.Repeat("a", 120) + "😀", 120},
		{strings.Repeat("組", 100), 123},
	} {
		frame := AppendClose(nil, CloseNormal, test.reason)
		if got := len(frame) - 4; got != test.want || !utf8.Valid(frame[4:]) || int(frame[1]) != got+2 {
			t.Errorf("%q: got %d bytes (valid %v, length byte %d), want %d", test.reason, got, utf8.Valid(frame[4:]), frame[1], test.want)
		}
	}
}

func TestOnlyCodesOfTheRegistryMayBeReceived(t *testing.T) {
	want := func(code int) bool {
		return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code < 5000
	}
	for code := 0; code <= 65535; code++ {
		if got := validCloseCode(StatusCode(code)); got != want(code) {
			t.Errorf("code %d: got %v, want %v", code, got, want(code))
		}
	}
}
