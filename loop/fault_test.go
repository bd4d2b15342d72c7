package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/loop/door"
)

// The client is told that its token is bad, and the operator why, in the journal and in the log.
func TestAnOperatorLearnsWhyATokenWasRefused(t *testing.T) {
	st := newBearerStage(1, nil)
	s := st.hub.shards[0]
	var logged []string
	s.env.names = func(conn) (l, r string) { return "", "192.0.2.7:1" }
	s.env.faulty = func(c *client, fault door.Fault, why string) {
		logged = append(logged, fmt.Sprint(c.Number(), " ", fault, " ", why))
	}
	ann := tokenOf(`{"sub":"ann","iat":1799999000}`)
	forged := ann[:len(ann)-4] + "AAAA"
	plain := func() *stageConn { return st.enter(0) }
	known := func() *stageConn { return st.auth(plain(), `{"sub":"bob"}`) }
	auth := func(c *stageConn, token string) { st.ask(c, `{"cmd":"auth","token":%q,"id":1}`, token) }
	join := func(c *stageConn, token string) {
		st.ask(c, `{"cmd":"add_group","group_id":"0g","token":%q,"id":1}`, token)
	}
	connect := func(c *stageConn, token string) {
		c.say(`{"id":1,"connect":{"token":%q}}`, token)
		st.settle()
	}
	page := func() *stageConn { return st.enterAt(0, centrifugePath) }
	for _, test := range []struct {
		name        string
		c           *stageConn
		show        func(*stageConn, string)
		token       string
		group, want string // Code and Reason
	}{
		{"forged", plain(), auth, forged, "", "signature its signature is by none of the secrets"},
		{"no text", plain(), func(c *stageConn, _ string) { st.ask(c, `{"cmd":"auth","token":7,"id":1}`) }, "", "", "malformed it is not of three segments of base64url"},
		{"expired", plain(), auth, tokenOf(`{"sub":"ann","exp":1799999999}`), "", "expired it has expired"},
		{"of another", known(), auth, ann, "", "other_user " + whyOfAnother},
		{"of a group", plain(), auth, tokenOf(`{"channel":"0g"}`), "", "other_use " + whyForAGroup},
		{"group: forged", plain(), join, forged, "0g", "signature its signature is by none of the secrets"},
		{"group: another", plain(), join, tokenOf(`{"channel":"0h"}`), "0g", "other_use " + whyForAnother},
		{"group: a connection's", known(), join, tokenOf(`{"sub":"bob"}`), "0g", "other_use " + whyForAConnection},
		{"group: of another", known(), join, tokenOf(`{"sub":"ann","channel":"0g"}`), "0g", "other_user " + whyOfAnother},
		{"page: not yet", page(), connect, tokenOf(`{"sub":"ann","nbf":1800001000}`), "", "not_yet_valid it is not valid yet (nbf)"},
		{"page: expired", page(), connect, tokenOf(`{"sub":"ann","exp":1799999999}`), "", "expired it has expired"},
		{"handshake", nil, func(_ *stageConn, token string) { st.enterAt(0, "/?token="+token) }, forged, "", "signature its signature is by none of the secrets"},
		{"handshake: of a group", nil, func(_ *stageConn, token string) { st.enterAt(0, "/?token="+token) }, tokenOf(`{"channel":"0g"}`), "", "other_use " + whyForAGroup},
		{"revoked", plain(), func(c *stageConn, token string) {
			if err := st.hub.revoked.Revoke("ann", wallStart, wallStart); err != nil {
				t.Fatal(err)
			}
			auth(c, token)
		}, ann, "", "revoked its user's tokens were revoked after it was issued (iat)"},
	} {
		logged = nil
		s.traces.journal = journal{}
		test.show(test.c, test.token)
		number := st.conns[len(st.conns)-1].client.Number()
		if test.c != nil {
			number = test.c.client.Number()
		}
		i := slices.IndexFunc(s.traces.journal.traces, func(t Trace) bool { return t.Kind == TraceToken })
		if i < 0 {
			t.Errorf("%s: got %+v, want a trace of the token", test.name, s.traces.journal.traces)
			continue
		}
		got := s.traces.journal.traces[i]
		if got.Code+" "+got.Reason != test.want || got.Group != test.group || got.Client != number || got.Remote != "192.0.2.7:1" {
			t.Errorf("%s: got %+v, want %q of client %d, group %q", test.name, got, test.want, number, test.group)
		}
		if want := fmt.Sprint(number, " ", test.want); !slices.Equal(logged, []string{want}) {
			t.Errorf("%s: logged %q, want %q", test.name, logged, want)
		}
		for _, part := range strings.Split(test.token, ".") {
			if part != "" && strings.Contains(fmt.Sprint(s.traces.journal.traces, logged), part) {
				t.Errorf("%s: %+v has %q of the token in it", test.name, s.traces.journal.traces, part)
			}
		}
	}
	logged = nil
	st.auth(plain(), `{"sub":"eve"}`)
	if len(logged) > 0 {
		t.Errorf("of a good one: logged %q", logged)
	}
}

func TestWhereNoTokensAreConfiguredOperatorsLearnThat(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	st.ask(c, `{"cmd":"auth","token":"a.b.c","id":1}`)
	c.heard(t, `{"id":1,"error":{"code":"bad_token"`)
	if got := st.hub.shards[0].traces.journal.traces; len(got) == 0 || got[0].Code != "not_configured" || st.hub.Snapshot().Total().Tokens["bad"] != 1 {
		t.Errorf("got %+v, want that it is not configured", got)
	}
}
