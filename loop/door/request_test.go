package door

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// hmacHex is HMAC-SHA256 in hexadecimal.
func hmacHex(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return fmt.Sprintf("%x", mac.Sum(nil))
}

// signsAll says why a request is not the app's, head or body.
func (a *App) signsAll(method, path, rawQuery string, body []byte, now time.Time) error {
	bodyMD5, err := a.SignsRequest(method, path, rawQuery, now)
	if err != nil {
		return err
	}
	return SignsBody(bodyMD5, body)
}

// signedThen is when the requests of Pusher's documentation were signed.
const signedThen = 1353088179

const authOfThen = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0"

// The vectors of Pusher's documentation, and what its libraries for PHP and Node make of other calls.
func TestRequestsAsPushersLibrariesSignThemAreGood(t *testing.T) {
	const body = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	for _, c := range []struct{ what, method, path, query, body, signature string }{
		{"a trigger", "POST", "/apps/3/events", authOfThen + "&body_md5=ec365a775a4cd0599faeb73354201b6f", body, "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
		{"in another order", "POST", "/apps/3/events", "body_md5=ec365a775a4cd0599faeb73354201b6f&auth_version=1.0&&" + authOfThen[:55], body, "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
		{"channels", "GET", "/apps/3/channels", authOfThen + "&filter_by_prefix=presence-&info=user_count", "", "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291"},
		{"names in capitals", "GET", "/apps/3/channels", "FILTER_by_prefix=presence-&Info=user_count&" + authOfThen, "", "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291"},
		{"a comma, by Node", "GET", "/apps/3/channels/presence-foobar", authOfThen + "&info=user_count,subscription_count", "", "377ee9260ea002a70c0d40cd887d55cb36db9f7f821297f5efacbcce66be356d"},
		{"a comma, by PHP", "GET", "/apps/3/channels/presence-foobar", authOfThen + "&info=user_count%2csubscription_count", "", "377ee9260ea002a70c0d40cd887d55cb36db9f7f821297f5efacbcce66be356d"},
		{"an array, by PHP", "GET", "/apps/3/channels/presence-foobar", "info%5B0%5D=user_count&" + authOfThen + "&info[1]=subscription_count", "", "377ee9260ea002a70c0d40cd887d55cb36db9f7f821297f5efacbcce66be356d"},
		{"an end of connections", "POST", "/apps/3/users/u1/terminate_connections", authOfThen + "&body_md5=99914b932bd37a50b983c5e7c90ae93b", "{}", "61efad5e9fe693a686a71ff197d9770bd2c257d87ce961f4efda2dae952c4345"},
	} {
		query := "auth_signature=" + c.signature + "&" + c.query
		for _, clock := range []int64{0, requestAgeMax, -requestAgeMax} {
			if err := theApp.signsAll(c.method, c.path, query, []byte(c.body), time.Unix(signedThen+clock, 0)); err != nil {
				t.Errorf("%s, %d s later: %v", c.what, clock, err)
			}
		}
	}
}

func TestARequestThatNoBackendHasSignedIsRefusedAndToldWhy(t *testing.T) {
	const path, body = "/apps/3/events", `{"name":"a"}`
	signedBy := func(method, path, query string, secret string) string {
		return query + "&auth_signature=" + hmacHex(secret, method+"\n"+path+"\n"+query)
	}
	bodySum := fmt.Sprintf("%x", md5.Sum([]byte(body)))
	whole := authOfThen + "&body_md5=" + bodySum
	good := signedBy("POST", path, whole, theApp.Secret)
	sign := func(query string) string { return signedBy("POST", path, query, theApp.Secret) }
	for _, c := range []struct {
		what, method, path, query, body string
		clock                           int64
		reason, want                    string
	}{
		{what: "it is good", query: good},
		{what: "a query of nothing", query: "", reason: "key", want: "auth_key is missing"},
		{what: "another key", query: sign(strings.Replace(whole, "278d", "378d", 1)), reason: "key", want: "auth_key is not the key of app 3"},
		{what: "no version", query: sign(strings.Replace(whole, "&auth_version=1.0", "", 1)), reason: "version", want: "auth_version is not 1.0"},
		{what: "no time", query: sign(strings.Replace(whole, "auth_timestamp=1353088179&", "", 1)), reason: "timestamp", want: "is not a number of seconds"},
		{what: "a time that is none", query: sign(strings.Replace(whole, "1353088179", "now", 1)), reason: "timestamp", want: "is not a number of seconds"},
		{what: "too old", query: good, clock: requestAgeMax + 1, reason: "timestamp", want: "auth_timestamp is 1353088179, and the clock here says 1353088780: more than 600 seconds apart; set the clocks"},
		{what: "too new", query: good, clock: -requestAgeMax - 1, reason: "timestamp", want: "set the clocks"},
		{what: "no signature", query: whole, reason: "signature", want: `"POST\n/apps/3/events\nauth_key=278d425bdf160c739803&`},
		{what: "of another method", method: "PUT", query: good, reason: "signature", want: "by the secret of app 3"},
		{what: "of another path", path: "/apps/3/batch_events", query: good, reason: "signature", want: "by the secret of app 3"},
		{what: "by another secret", query: signedBy("POST", path, whole, "other"), reason: "signature", want: "by the secret of app 3"},
		{what: "with a parameter more", query: good + "&info=user_count", reason: "signature", want: "&info=user_count"},
		{what: "of another body", query: good, body: `{"name":"b"}`, reason: "body", want: "body_md5 is not the MD5 of the 12 bytes of the body"},
		{what: "of no body", query: sign(authOfThen), reason: "body", want: "body_md5 is missing"},
		{what: "a time far ahead", query: sign(strings.Replace(whole, "1353088179", "9223372036854775807", 1)), reason: "timestamp", want: "set the clocks"},
		{what: "a time long ago", query: sign(strings.Replace(whole, "1353088179", "-9223372036854775808", 1)), reason: "timestamp", want: "set the clocks"},
		{what: "a name twice", query: good + "&auth_signature=x", reason: "malformed", want: `has "auth_signature" twice`},
		{what: "a name with and without an index", query: good + "&auth_key[]=x", reason: "malformed", want: `has "auth_key" twice`},
		{what: "many parameters", query: good + strings.Repeat("&a[]=", appParamsMax), reason: "malformed", want: "more than 64 parameters"},
		{what: "a percent", query: good + "&x=%zz", reason: "malformed", want: "has a % that is not before two hexadecimal digits"},
		{what: "a percent at the end", query: good + "&x=%2", reason: "malformed", want: "has a %"},
		{what: "a query without an end", query: whole + "&x=" + strings.Repeat("y", 5000), reason: "signature", want: "yyy…"},
	} {
		method, at, sent := "POST", path, body
		if c.method != "" {
			method = c.method
		}
		if c.path != "" {
			at = c.path
		}
		if c.body != "" {
			sent = c.body
		}
		err := theApp.signsAll(method, at, c.query, []byte(sent), time.Unix(signedThen+c.clock, 0))
		var refused *AppRequestError
		if c.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if !errors.As(err, &refused) || refused.Reason != c.reason || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s with %q", c.what, err, c.reason, c.want)
			continue
		}
		if strings.Contains(err.Error(), theApp.Secret) || strings.Contains(err.Error(), good[len(good)-64:]) || len(err.Error()) > signedShownMax+300 {
			t.Errorf("%s: %q says too much", c.what, err)
		}
	}
}

func TestAQueryIsReadAsItIsSigned(t *testing.T) {
	for raw, want := range map[string]string{
		"":                       "",
		"&&":                     "",
		"b=2&a=1":                "a=1&b=2",
		"a":                      "a=",
		"a=b=c":                  "a=b=c",
		"a=1+2%2B3%20%25":        "a=1+2+3 %",
		"A%5b%5D=x&a[]=y&a[7]=z": "a=x,y,z",
		"=x":                     "=x",
		"%41=%c3%a4":             "a=ä",
	} {
		query, err := ReadAppQuery(raw)
		if err != nil || query.signed() != want {
			t.Errorf("%q: got %q, %v, want %q", raw, query.signed(), err, want)
		}
	}
	query, err := ReadAppQuery("info=user_count%2ccache&auth_signature=x")
	if err != nil || query.Get("info") != "user_count,cache" || query.Get("auth_signature") != "x" || query.Get("other") != "" || query.signed() != "info=user_count,cache" {
		t.Errorf("got %q, %v", query, err)
	}
}

// FuzzAppRequest has any parameters beside those of the signature, and any body. What is read of them is what package url reads, but for
// the plus; what is signed as it was read is good; and of what was signed no byte may be another.
func FuzzAppRequest(f *testing.F) {
	f.Add("info=user_count%2Csubscription_count", "/apps/3/channels", []byte(""), 7)
	f.Add("a[0]=1&a[1]=2&B=%25", "/apps/3/events", []byte("{}"), 130)
	f.Add("a=1&a=2&%=&=&[=", "/", []byte("\x00"), 0)
	f.Fuzz(func(t *testing.T, extra, path string, body []byte, at int) {
		sum := md5.Sum(body)
		raw := authOfThen + fmt.Sprintf("&body_md5=%x&", sum) + extra
		query, err := ReadAppQuery(raw)
		if err != nil {
			var refused *AppRequestError
			if !errors.As(err, &refused) || refused.Reason != "malformed" {
				t.Fatalf("%q: got %v", raw, err)
			}
			return
		}
		if !slices.IsSortedFunc(query, func(a, b appParam) int { return strings.Compare(a.name, b.name) }) {
			t.Fatalf("%q: got %q, want it sorted", raw, query)
		}
		other, err := url.ParseQuery(strings.ReplaceAll(raw, "+", "%2B"))
		for name, values := range other {
			if err == nil && !strings.Contains(name, "[") && len(values) == 1 && strings.ToLower(name) == name && query.Get(name) != values[0] {
				t.Fatalf("%q: got %s %q, want %q", raw, name, query.Get(name), values[0])
			}
		}
		if query.Get("auth_signature") != "" || strings.Contains(strings.ToLower(raw), "auth_signature") {
			return
		}
		signed := raw + "&auth_signature=" + hmacHex(theApp.Secret, "POST\n"+path+"\n"+query.signed())
		now := time.Unix(signedThen, 0)
		if err := theApp.signsAll("POST", path, signed, body, now); err != nil {
			t.Fatalf("%q: %v", signed, err)
		}
		if err := theApp.signsAll("POST", path, signed, append([]byte("x"), body...), now); err == nil {
			t.Fatalf("%q: another body is taken", signed)
		}
		b := []byte(signed)
		at = max(at, 0) % (len(authOfThen) + len("&body_md5=") + 2*len(sum)) // of the part whose meaning no other byte has
		if b[at] ^= 2; theApp.signsAll("POST", path, string(b), body, now) == nil {
			t.Fatalf("%q: taken as %q", signed, b)
		}
	})
}
