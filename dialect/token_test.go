package dialect

import (
	"strings"
	"testing"
)

func TestPlainCommandsMayShowATokenAndNothingElseTakesOne(t *testing.T) {
	for payload, want := range map[string]string{
		`{"cmd":"auth","token":"a.b.c","id":1}`:                           `auth token="a.b.c" id=1`,
		`{"cmd":"auth","group_id":7,"message":{},"token":"\u0061"}`:       `auth token="a" id=-`,
		`{"cmd":"auth","id":1}`:                                           `auth token="" id=1`,
		`{"cmd":"auth","token":null}`:                                     `auth token="" id=-`,
		`{"cmd":"auth","token":["x"]}`:                                    `auth token="" id=-`,
		`{"cmd":"auth","token":"x","id":[]}`:                              `bad_id id=null`,
		`{"cmd":"add_group","group_id":"g","token":"x"}`:                  `add_group "g" token="x" id=-`,
		`{"cmd":"add_group","group_id":"g","token":""}`:                   `add_group "g" token="" id=-`,
		`{"cmd":"add_group","group_id":"g","token":false}`:                `add_group "g" token="" id=-`,
		`{"cmd":"add_group","group_id":"g","token":null}`:                 `add_group "g" id=-`,
		`{"cmd":"add_group","token":"x"}`:                                 `bad_group_id id=-`,
		`{"cmd":"leave_group","group_id":"g","token":"x"}`:                `leave_group "g" id=-`,
		`{"cmd":"send_to_group","group_id":"g","message":"m","token":[]}`: `send_to_group "g" "m" id=-`,
	} {
		var p CommandParser
		if got := showCommand(p.Parse([]byte(payload))); got != want {
			t.Errorf("%s: got %s, want %s", payload, got, want)
		}
	}
}

func TestWhatIsWrongWithATokenHasOneCodeOnThePlainDialect(t *testing.T) {
	for _, code := range []ErrorCode{ErrBadToken, ErrTokenExpired, ErrOtherToken} {
		text := replyText(t, AppendError(nil, []byte("1"), code))
		if !strings.HasPrefix(text, `{"id":1,"error":{"code":"bad_token","message":"`) || !strings.Contains(text, code.Sentence()) || strings.Contains(text, "expired") != (code == ErrTokenExpired) {
			t.Errorf("%s: got %s, want bad_token and its sentence", code, text)
		}
	}
}

func TestClientsAreToldWhatBecomesOfTheirTokensAndGroups(t *testing.T) {
	id := []byte("7")
	past := &Past{Top: Position{Offset: 3, Epoch: 36}, Messages: nil}
	for _, test := range []struct {
		outcome           Outcome
		plain, centrifuge string // "": nothing
	}{
		{Outcome{What: OK, Verb: Auth, ID: id}, `{"id":7,"ok":true}`, `{"id":7,"refresh":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e"}}`},
		{Outcome{What: OK, Verb: Auth, ID: id, TTL: 5}, `{"id":7,"ok":true}`, `{"id":7,"refresh":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","expires":true,"ttl":5}}`},
		{Outcome{What: OK, Verb: AuthGroup, ID: id, TTL: 5}, `{"id":7,"ok":true}`, `{"id":7,"sub_refresh":{"expires":true,"ttl":5}}`},
		{Outcome{What: OK, Verb: AuthGroup, ID: id}, `{"id":7,"ok":true}`, `{"id":7,"sub_refresh":{}}`},
		{Outcome{What: OK, Verb: AddGroup, Group: "g", ID: id, TTL: 5}, `{"id":7,"ok":true}`, `{"id":7,"subscribe":{"expires":true,"ttl":5}}`},
		{Outcome{What: OK, Verb: AddGroup, Group: "g", ID: id, TTL: 5, Past: past}, `{"id":7,"ok":true}`,
			`{"id":7,"subscribe":{"expires":true,"ttl":5,"recoverable":true,"epoch":"10","offset":3,"positioned":true}}`},
		{Outcome{What: OK, Verb: Connect, ID: id, TTL: 5}, `{"id":7,"ok":true}`, `{"id":7,"connect":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","version":"ringcast","expires":true,"ttl":5}}`},
		{Outcome{What: Removed, Group: "g\"\n"}, `{"event":"removed","group_id":"g\"\n","reason":"server"}`, `{"push":{"channel":"g\"\n","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}`},
		{Outcome{What: Lapsed, Group: "g"}, `{"event":"removed","group_id":"g","reason":"token_expired"}`, `{"push":{"channel":"g","unsubscribe":{"code":2501,"reason":"subscription expired"}}}`},
		{Outcome{What: Joined, Group: "g"}, "", `{"push":{"channel":"g","subscribe":{}}}`},
		{Outcome{What: Joined, Group: "g", Past: past}, "", `{"push":{"channel":"g","subscribe":{"recoverable":true,"epoch":"10","offset":3,"positioned":true}}}`},
		{Outcome{What: Renewed, TTL: 5}, "", `{"push":{"refresh":{"expires":true,"ttl":5}}}`},
		{Outcome{What: Renewed}, "", `{"push":{"refresh":{}}}`},
	} {
		for d, want := range map[Dialect]string{&Plain{}: test.plain, newCentrifuge(): test.centrifuge} {
			frame := d.Answer(nil, test.outcome)
			switch {
			case want == "" && len(frame) > 0:
				t.Errorf("%T, %+v: got %q, want nothing", d, test.outcome, frame)
			case want != "":
				if got := replyText(t, frame); got != want {
					t.Errorf("%T, %+v:\n got %s\nwant %s", d, test.outcome, got, want)
				}
			}
		}
	}
}

func TestANameLeadsBackToItsClientAndToNoOther(t *testing.T) {
	names, others := NewNames([16]byte{}), NewNames([16]byte{1})
	for n := range uint64(500) {
		client := n<<20 | n
		name := names.Of(client)
		if got := string(newCentrifuge().clientName(nil, client)); got != name {
			t.Fatalf("client %d: got %s, and %s in the protocol", client, name, got)
		}
		if got, ok := names.Number(name); !ok || got != client {
			t.Fatalf("%s: got %d, %v, want %d", name, got, ok, client)
		}
		if got, ok := others.Number(name); ok {
			t.Fatalf("%s: got client %d with another key", name, got)
		}
		if packed, ok := PackName(name); !ok || packed.String() != name {
			t.Fatalf("%s packed: got %s, %v", name, packed, ok)
		}
	}
	name := names.Of(7)
	for _, wrong := range []string{"", "7", name[:35], name + "0", strings.ToUpper(name), name[:8] + name[9:18] + "-" + name[18:], "g" + name[1:], name[:14] + "5" + name[15:]} {
		if got, ok := names.Number(wrong); ok {
			t.Errorf("%q: got client %d, want none", wrong, got)
		}
		if packed, ok := PackName(wrong); ok && packed.String() != wrong {
			t.Errorf("%q packed: got %s", wrong, packed)
		}
	}
	for _, wrong := range []string{"", name[:35], name + "0", strings.ToUpper(name), strings.ReplaceAll(name, "-", ""), strings.Repeat("-", 36), strings.Repeat("0", 36)} {
		if packed, ok := PackName(wrong); ok {
			t.Errorf("%q packed: got %s, want none", wrong, packed)
		}
	}
	if _, ok := (Names{}).Number(name); ok || (Names{}).Of(7) != "" {
		t.Error("the zero value has names")
	}
}
