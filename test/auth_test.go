package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// tokenText is a token with these claims by the secret of these tests.
func tokenText(claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const tokenSecret = "a secret of thirty-two bytes....."

// expired are claims that were good until a minute ago.
func expired(claims string) string {
	return fmt.Sprintf(`{"exp":%d,%s`, time.Now().Unix()-60, claims[1:])
}

// answered sends a command with the id 7 and says how it was answered: ok, a code, or the code of the close. Messages that come before are
// passed over.
func (c *client) answered(command string) string {
	if err := c.frame(ws.OpText, true, command); err != nil {
		return err.Error()
	}
	for {
		text, err := c.next()
		var closed closedError
		switch {
		case errors.As(err, &closed):
			return fmt.Sprint("closed ", closed.code)
		case err != nil:
			return err.Error()
		}
		var answer struct {
			ID    int
			Error *struct{ Code any }
		}
		if json.Unmarshal([]byte(text), &answer) != nil || answer.ID != 7 {
			continue
		}
		if answer.Error != nil {
			return fmt.Sprint(answer.Error.Code)
		}
		return "ok"
	}
}

// credential is a way to show who one is, in a dialect.
type credential struct {
	dial    func(s *server) (*client, error)
	first   string // a command before all others; empty: none
	answer  string // to that
	token   string // that the join shows; empty: none
	refused int    // HTTP status of the handshake; 0: it is accepted
}

// The whole table: dialects × kinds × what was shown. A cell says how a publish before the join, the join, and a publish after it were
// answered.
func TestWhoMayDoWhatWithWhichToken(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"groups": [{"match": "anyone"}, {"match": "user", "join": "user", "publish": "user"}, {"match": "member", "publish": "member"},
		{"match": "token", "join": "token", "publish": "token"}, {"match": "server", "publish": "server"}]}`,
		"--token-secret", tokenSecret, "--anonymous", "on", "--loops", "3")
	kinds := []string{"anyone", "user", "member", "token", "server"}
	const user, nobody = `{"sub":"ann"}`, `{"sub":""}`

	plain := func(path, header string) func(s *server) (*client, error) {
		return func(s *server) (*client, error) { return open(s.addr, dialing{path: path, header: header}) }
	}
	auth := func(token string) string { return `{"cmd":"auth","token":"` + token + `","id":7}` }
	connect := func(token string) string { return `{"connect":{"token":"` + token + `"},"id":7}` }
	page := plain(centrifugePath, "")
	of := func(claims string) string { return claims } // a token for the group of the cell is made of these
	const no, denied = "forbidden", "103"

	type row map[string]string // by kind: publish, join, publish
	plainNobody := row{"anyone": "ok ok ok", "user": "no no no", "member": "no ok ok", "token": "no no no", "server": "no ok no"}
	plainUser := row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "no no no", "server": "no ok no"}
	groupUser := row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "no ok ok", "server": "no ok no"}
	groupNobody := row{"anyone": "ok ok ok", "user": "no no no", "member": "no ok ok", "token": "no ok ok", "server": "no ok no"}
	badGroup := func(how string) row {
		return row{"anyone": "ok " + how + " ok", "user": "ok " + how + " ok", "member": "no " + how + " no", "token": "no " + how + " no", "server": "no " + how + " no"}
	}
	for name, test := range map[string]struct {
		credential
		cells row
	}{
		"plain, no token":                {credential{dial: plain("/", "")}, plainNobody},
		"plain, user by auth":            {credential{dial: plain("/", ""), first: auth(tokenText(user)), answer: "ok"}, plainUser},
		"plain, user by query":           {credential{dial: plain("/?token="+tokenText(user), "")}, plainUser},
		"plain, user by header":          {credential{dial: plain("/", "Authorization: Bearer "+tokenText(user)+"\r\n")}, plainUser},
		"plain, a token without a user":  {credential{dial: plain("/", ""), first: auth(tokenText(nobody)), answer: "ok"}, plainNobody},
		"plain, wrong by auth":           {credential{dial: plain("/", ""), first: auth(tokenText(user) + "x"), answer: "bad_token"}, plainNobody},
		"plain, expired by auth":         {credential{dial: plain("/", ""), first: auth(tokenText(expired(user))), answer: "bad_token"}, plainNobody},
		"plain, wrong by query":          {credential{dial: plain("/?token="+tokenText(user)+"x", ""), refused: 401}, nil},
		"plain, expired by query":        {credential{dial: plain("/?token="+tokenText(expired(user)), ""), refused: 401}, nil},
		"plain, wrong by header":         {credential{dial: plain("/", "Authorization: Bearer x\r\n"), refused: 401}, nil},
		"plain, expired by header":       {credential{dial: plain("/", "Authorization: Bearer "+tokenText(expired(user))+"\r\n"), refused: 401}, nil},
		"plain, group token":             {credential{dial: plain("/?token="+tokenText(user), ""), token: of(user)}, groupUser},
		"plain, group token of nobody":   {credential{dial: plain("/", ""), token: of(nobody)}, groupNobody},
		"plain, wrong group token":       {credential{dial: plain("/?token="+tokenText(user), ""), token: "x"}, badGroup("bad_token")},
		"plain, expired group token":     {credential{dial: plain("/?token="+tokenText(user), ""), token: expired(user)}, badGroup("bad_token")},
		"plain, group token of another":  {credential{dial: plain("/?token="+tokenText(user), ""), token: of(`{"sub":"bob"}`)}, badGroup("bad_token")},
		"plain, granted by a pattern":    {credential{dial: plain("/?token="+tokenText(`{"sub":"ann","join":["tok*"],"publish":["*en"]}`), "")}, row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "ok ok ok", "server": "no ok no"}},
		"plain, joins by a pattern":      {credential{dial: plain("/?token="+tokenText(`{"sub":"ann","join":["tok*"]}`), "")}, row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "no ok no", "server": "no ok no"}},
		"plain, granted by name":         {credential{dial: plain("/?token="+tokenText(`{"sub":"ann","channels":["token"]}`), "")}, row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "ok ok ok", "server": "no ok no"}},
		"page, no token":                 {credential{dial: page, first: `{"connect":{},"id":7}`, answer: "ok"}, plainNobody},
		"page, user":                     {credential{dial: page, first: connect(tokenText(user)), answer: "ok"}, plainUser},
		"page, a token without a user":   {credential{dial: page, first: connect(tokenText(nobody)), answer: "ok"}, plainNobody},
		"page, wrong":                    {credential{dial: page, first: connect(tokenText(user) + "x"), answer: "closed 3500"}, nil},
		"page, expired":                  {credential{dial: page, first: connect(tokenText(expired(user))), answer: "109"}, nil},
		"page, group token":              {credential{dial: page, first: connect(tokenText(user)), answer: "ok", token: of(user)}, groupUser},
		"page, group token of nobody":    {credential{dial: page, first: `{"connect":{},"id":7}`, answer: "ok", token: of(nobody)}, groupNobody},
		"page, wrong group token":        {credential{dial: page, first: connect(tokenText(user)), answer: "ok", token: "x"}, badGroup("103")},
		"page, expired group token":      {credential{dial: page, first: connect(tokenText(user)), answer: "ok", token: expired(user)}, badGroup("109")},
		"page, group token of another":   {credential{dial: page, first: connect(tokenText(user)), answer: "ok", token: of(`{"sub":"bob"}`)}, row{"anyone": "ok closed", "user": "ok closed", "member": "no closed", "token": "no closed", "server": "no closed"}},
		"page, granted by a pattern":     {credential{dial: page, first: connect(tokenText(`{"sub":"ann","join":["tok*"],"publish":["*en"]}`)), answer: "ok"}, row{"anyone": "ok ok ok", "user": "ok ok ok", "member": "no ok ok", "token": "ok ok ok", "server": "no ok no"}},
		"page, a connect's for channels": {credential{dial: page, first: connect(tokenText(`{"sub":"ann","channel":"token"}`)), answer: "closed 3500"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range kinds {
				c, err := test.dial(s)
				var refused *refusedError
				if errors.As(err, &refused) != (test.refused != 0) || refused != nil && refused.status != test.refused {
					t.Fatalf("%s: got %v, want status %d", kind, err, test.refused)
				}
				if refused != nil {
					if strings.Contains(refused.body, "eyJ") || refused.header.Get("WWW-Authenticate") == "" {
						t.Errorf("%s: got %v, want it to say what is asked for, and not the token", kind, refused)
					}
					continue
				}
				must(t, err)
				defer c.hangUp()
				if test.first != "" {
					equal(t, kind+": "+test.first, c.answered(test.first), test.answer)
				}
				if test.cells == nil {
					continue
				}
				isPage := strings.HasPrefix(name, "page")
				token := test.token
				if strings.HasPrefix(token, "{") {
					token = tokenText(fmt.Sprintf(`{"channel":%q,%s`, kind, token[1:]))
				}
				shown := ""
				if token != "" {
					shown = `,"token":"` + token + `"`
				}
				join := `{"cmd":"add_group","group_id":"` + kind + `","id":7` + shown + `}`
				publish := `{"cmd":"send_to_group","group_id":"` + kind + `","message":"x","id":7}`
				forbidden := no
				if isPage {
					join = `{"subscribe":{"channel":"` + kind + `"` + shown + `},"id":7}`
					publish = `{"publish":{"channel":"` + kind + `","data":1},"id":7}`
					forbidden = denied
				}
				var got []string
				for _, command := range []string{publish, join, publish} {
					how := c.answered(command)
					if how == "closed 3500" {
						got = append(got, "closed")
						break
					}
					if how == forbidden && !(command == join && token != "" && strings.Contains(test.cells[kind], how)) {
						how = "no"
					}
					got = append(got, how)
				}
				if got := strings.Join(got, " "); got != test.cells[kind] {
					t.Errorf("%s: got %s, want %s", kind, got, test.cells[kind])
				}
			}
		})
	}
	equal(t, "tokens in the log", strings.Contains(s.out.String(), "eyJ"), false)
}

// Once tokens are configured Centrifuge clients need one; plain clients do where an operator says so.
func TestWhoHasNoTokenIsRefusedAsTheOperatorSays(t *testing.T) {
	t.Parallel()
	s := start(t, "--token-secret", tokenSecret)
	page := dial(t, s, dialing{path: centrifugePath})
	equal(t, "a page's connect", page.answered(`{"connect":{},"id":7}`), "101")
	must(t, dial(t, s).join("g"))

	s = start(t, "--token-secret", tokenSecret, "--anonymous", "off")
	c := dial(t, s)
	for _, command := range []string{joinCommand("g"), sendCommand("g", "x"), `{"cmd":"leave_group","group_id":"g"}`} {
		equal(t, command, c.answered(withID("7", command)), "forbidden")
	}
	equal(t, "auth", c.answered(`{"cmd":"auth","token":"`+tokenText(`{"sub":"ann"}`)+`","id":7}`), "ok")
	must(t, c.join("g"))
	silent := dial(t, s)
	must(t, silent.text(joinCommand("g")))
	silent.expectClose(t, 1008)
	page = dial(t, s, dialing{path: centrifugePath})
	equal(t, "a page's connect", page.answered(`{"connect":{},"id":7}`), "101")
}

// soon is how many seconds a token has that a test sees the end of: time to come in with it, on a busy machine too.
const soon = 12

func TestABearerIsClosedWhenItsTokenEnds(t *testing.T) {
	t.Parallel()
	s := start(t, "--token-secret", tokenSecret, "--admin", "127.0.0.1:0")
	ends := time.Now().Unix() + int64(soon)
	c := dial(t, s, dialing{path: "/?token=" + tokenText(fmt.Sprintf(`{"sub":"ann","exp":%d}`, ends))})
	renewed := dial(t, s, dialing{path: "/?token=" + tokenText(fmt.Sprintf(`{"sub":"ann","exp":%d}`, ends))})
	equal(t, "auth", renewed.answered(`{"cmd":"auth","token":"`+tokenText(`{"sub":"ann"}`)+`","id":7}`), "ok")
	must(t, c.join("g"))
	c.expectClose(t, 4401)
	if now := time.Now().Unix(); now < ends {
		t.Errorf("closed %d s before the end", ends-now)
	}
	must(t, renewed.join("g"))
}
