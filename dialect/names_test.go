package dialect

import (
	"regexp"
	"strings"
	"testing"
)

// socketIDForm is what the libraries of backends take for a socket id, before they sign anything for it.
var socketIDForm = regexp.MustCompile(`\A\d+\.\d+\z`)

// A backend knows clients by names, and a page itself by its socket id: whoever has that can say which client is meant, on any node.
func TestASocketIDLeadsToTheNameWithoutTheKey(t *testing.T) {
	names, seen := NewNames([16]byte{7}), map[string]bool{}
	for n := range uint64(500) {
		client := n<<20 | n
		id := names.SocketID(client)
		if seen[id] || !socketIDForm.MatchString(id) {
			t.Fatalf("client %d: got the socket id %q, want one of its own, of two numbers", client, id)
		}
		seen[id] = true
		name, ok := SocketName(id)
		if want := names.Of(client); !ok || name != want {
			t.Fatalf("%s: got the name %q, %v, want %q", id, name, ok, want)
		}
		if number, ok := names.Number(name); !ok || number != client {
			t.Fatalf("%s: got client %d, %v, want %d", id, number, ok, client)
		}
	}
	if NewNames([16]byte{8}).SocketID(1) == names.SocketID(1) {
		t.Error("got the same socket id with another key, want one that nobody guesses")
	}
	if got := (Names{}).SocketID(1); got != "" {
		t.Errorf("got %q from the zero value, want nothing", got)
	}
}

func TestWhatIsNoSocketIDHasNoName(t *testing.T) {
	const most = "18446744073709551615"
	for _, id := range []string{"0.0", "1.2", most + "." + most} {
		if name, ok := SocketName(id); !ok || name == "" {
			t.Errorf("%q: got %q, %v, want a name, though of no client", id, name, ok)
		}
	}
	for _, id := range []string{
		"", ".", "1", "1.", ".1", "1.2.3", "01.2", "1.02", "+1.2", "-1.2", "1. 2", "1.2\n", "a.b", "0x1.2", "1_0.2", "1.18446744073709551616",
		strings.Repeat("9", 1000) + ".1", NewNames([16]byte{}).Of(1),
	} {
		if name, ok := SocketName(id); ok {
			t.Errorf("%q: got the name %q, want none", id, name)
		}
	}
}
