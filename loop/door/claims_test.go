package door

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestClaimsAreReadAsTheyAreMeant(t *testing.T) {
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	b64 := base64.StdEncoding.EncodeToString
	for claims, want := range map[string]Token{
		`{}`: {},
		`{"sub":"","jti":"x","meta":{"a":[1]},"aud":7,"iss":7,"SUB":"43","unknown":null}`: {},
		`{"sub":"Ж\u0416","info":{"name" : "A\nn",` + "\n" + ` "of":[1, 2]}}`:             {User: "ЖЖ", Info: []byte(`{"name":"A\nn","of":[1,2]}`)},
		`{"info":null,"b64info":null}`: {},
		`{"info":7,"b64info":""}`:      {Info: []byte("7")},
		`{"info":"text"}`:              {Info: []byte(`"text"`)},
		`{"info":1,"b64info":"` + b64([]byte("{ \"a\": 1 }")) + `"}`: {Info: []byte(`{"a":1}`)},
		`{"channel":"a*","info":[]}`:                                 {Group: "a*", Info: []byte(`[]`)},
		`{"channels":["a","b"],"subs":{"b":{"info":{"x": 1},"data":{"y": 2},"override":{}},"c":{"b64info":"` + b64([]byte("2")) + `","b64data":"` + b64([]byte("[3 ]")) + `"}}}`: {
			Groups: map[string][]byte{"a": nil, "b": []byte(`{"x":1}`), "c": []byte("2")}, Data: map[string][]byte{"b": []byte(`{"y":2}`), "c": []byte("[3]")}},
		`{"subs":[ ]}`: {}, `{"subs":{"a":[],"b":{}}}`: {Groups: map[string][]byte{"a": nil, "b": nil}},
		`{"channels":null,"subs":null,"join":null,"publish":null}`:                                {},
		`{"channels":[],"subs":{},"join":[],"publish":[]}`:                                        {},
		`{"join":["chat:*","*"],"publish":["` + strings.Repeat("a", PatternBytesMax) + `"]}`:      {Join: []string{"chat:*", "*"}, Publish: []string{strings.Repeat("a", PatternBytesMax)}},
		`{"sub":"` + strings.Repeat("a", 255) + `","channel":"` + strings.Repeat("b", 255) + `"}`: {User: strings.Repeat("a", 255), Group: strings.Repeat("b", 255)},

		`{"exp":1900000000}`:                        {Expires: 1900000000, Ends: 1900000000},
		`{"exp":1.9e9,"iat":1.7E+9}`:                {Expires: 1900000000, Ends: 1900000000, IssuedAt: 1700000000},
		`{"exp":1900000000.0}`:                      {Expires: 1900000000, Ends: 1900000000},
		`{"exp":1900000000.9}`:                      {Expires: 1900000000, Ends: 1900000000},
		`{"exp":1800000001}`:                        {Expires: atNow + 1, Ends: atNow + 1},
		`{"exp":253402300799}`:                      {Expires: timesMax, Ends: timesMax},
		`{"iat":1800000030,"nbf":-0}`:               {IssuedAt: atNow + 30},
		`{"iat":1800000030.9}`:                      {IssuedAt: atNow + 30},
		`{"iat":0,"nbf":0}`:                         {},
		`{"nbf":1800000030}`:                        {},
		`{"exp":1900000000,"expire_at":0}`:          {Expires: 1900000000},
		`{"exp":1900000000,"expire_at":1850000000}`: {Expires: 1900000000, Ends: 1850000000},
		`{"expire_at":1950000000}`:                  {Ends: 1950000000},
	} {
		if got, err := checked(t, v, bySecret(t, claims)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\n got %+v and %v\nwant %+v", claims, got, err, want)
		}
	}
}

func TestWrongClaimsAreRefusedAndNotLeftOut(t *testing.T) {
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	of := func(n int) string { return `["` + strings.Repeat(`a","`, n-1) + `a"]` }
	for claims, want := range map[string]error{
		`{"exp":1800000000}`: ErrTokenExpired, `{"exp":1799999999}`: ErrTokenExpired, `{"exp":0}`: ErrTokenExpired, `{"exp":0.5}`: ErrTokenExpired, `{"exp":1800000000.9}`: ErrTokenExpired,
		`{"exp":1e-400}`: ErrTokenExpired, `{"expire_at":1800000000}`: ErrTokenExpired, `{"expire_at":1}`: ErrTokenExpired, `{"expire_at":0.1}`: ErrTokenExpired,
		`{"exp":1900000000,"expire_at":1700000000}`: ErrTokenExpired, `{"exp":1800000000,"expire_at":1950000000}`: ErrTokenExpired, `{"exp":0,"expire_at":0}`: ErrTokenExpired,

		`{"exp":-1}`: ErrBadToken, `{"exp":-1e-5}`: ErrBadToken, `{"exp":1e400}`: ErrBadToken, `{"exp":253402300800}`: ErrBadToken, `{"exp":1900000000000}`: ErrBadToken,
		`{"exp":"1900000000"}`: ErrBadToken, `{"exp":null}`: ErrBadToken, `{"exp":true}`: ErrBadToken, `{"exp":[1900000000]}`: ErrBadToken, `{"exp":{}}`: ErrBadToken,
		`{"exp":NaN}`: ErrBadToken, `{"exp":Infinity}`: ErrBadToken, `{"exp":0x7fffffff}`: ErrBadToken, `{"exp":01900000000}`: ErrBadToken, `{"exp":1_900_000_000}`: ErrBadToken,
		`{"iat":1800000031}`: ErrBadToken, `{"iat":"1700000000"}`: ErrBadToken, `{"iat":-1}`: ErrBadToken, `{"nbf":1800000031}`: ErrBadToken, `{"nbf":null}`: ErrBadToken,
		`{"exp":1,"nbf":1900000000}`: ErrBadToken, `{"exp":1,"sub":42}`: ErrBadToken, `{"expire_at":null}`: ErrBadToken, `{"expire_at":-5}`: ErrBadToken,

		`{"sub":42}`: ErrBadToken, `{"sub":null}`: ErrBadToken, `{"sub":["42"]}`: ErrBadToken, `{"sub":"\ud800"}`: ErrBadToken, "{\"sub\":\"\xff\"}": ErrBadToken,
		`{"sub":"` + strings.Repeat("a", 256) + `"}`: ErrBadToken, `{"sub":"42","sub":"43"}`: ErrBadToken, `{"sub":"42","s\u0075b":"42"}`: ErrBadToken,
		`{"channel":""}`: ErrBadToken, `{"channel":null}`: ErrBadToken, `{"channel":7}`: ErrBadToken, `{"channel":"` + strings.Repeat("Ж", 128) + `"}`: ErrBadToken,
		`{"b64info":"{}"}`: ErrBadToken, `{"b64info":"e30"}`: ErrBadToken, `{"b64info":"AAAA"}`: ErrBadToken, `{"b64info":7}`: ErrBadToken, `{"b64info":"Iv8i"}`: ErrBadToken, `{"b64info":"IA=="}`: ErrBadToken,
		`{"info":"` + strings.Repeat("a", infoBytesMax) + `"}`: ErrBadToken,
		`{"channels":"a"}`: ErrBadToken, `{"channels":[""]}`: ErrBadToken, `{"channels":[1]}`: ErrBadToken, `{"channels":["a",null]}`: ErrBadToken, `{"channels":{"a":1}}`: ErrBadToken,
		`{"channels":["` + strings.Repeat("a", 256) + `"]}`: ErrBadToken, `{"subs":[{}]}`: ErrBadToken, `{"subs":["a"]}`: ErrBadToken, `{"subs":"a"}`: ErrBadToken, `{"subs":{"a":[1]}}`: ErrBadToken, `{"subs":{"a":null}}`: ErrBadToken, `{"subs":{"":{}}}`: ErrBadToken, `{"subs":{"a":1}}`: ErrBadToken,
		`{"subs":{"a":{},"a":{}}}`: ErrBadToken, `{"subs":{"a":{"info":1,"info":2}}}`: ErrBadToken, `{"subs":{"a":{"b64info":1}}}`: ErrBadToken, `{"subs":{"a":{"b64data":"{}"}}}`: ErrBadToken, `{"subs":{"a":{"data":"` + strings.Repeat("x", 4<<10) + `"}}}`: ErrBadToken, `{"subs":{"\ud800":{}}}`: ErrBadToken,
		`{"join":"chat:*"}`: ErrBadToken, `{"join":[""]}`: ErrBadToken, `{"join":[7]}`: ErrBadToken, `{"publish":["` + strings.Repeat("a", PatternBytesMax+1) + `"]}`: ErrBadToken,
		`{"join":` + of(patternsMax+1) + `}`: ErrBadToken, `{"publish":` + of(patternsMax+1) + `}`: ErrBadToken,

		``: ErrBadToken, `null`: ErrBadToken, `[]`: ErrBadToken, `"sub"`: ErrBadToken, `{"sub":"42"`: ErrBadToken, `{"sub":"42"}{}`: ErrBadToken, `{"sub":"42",}`: ErrBadToken,
		"\xef\xbb\xbf{}": ErrBadToken, strings.Repeat("[", 5000): ErrBadToken,
	} {
		got, err := checked(t, v, bySecret(t, claims))
		if !errors.Is(err, want) {
			t.Errorf("%.100s: got %v and %v, want %v", claims, got, err, want)
		}
		if err != nil && len(claims) > 2 && strings.Contains(err.Error(), claims) {
			t.Errorf("%.100s: the error has claims in it: %v", claims, err)
		}
	}
	if _, err := checked(t, v, bySecret(t, `{"join":`+of(patternsMax)+`}`)); err != nil {
		t.Errorf("%d patterns: got %v, want it good", patternsMax, err)
	}
}

func TestATokenIsForOurAudienceAndByOurIssuer(t *testing.T) {
	for claims, want := range map[string]string{ // who takes it: those that ask for an audience, for an issuer, for both
		`{}`: "", `{"aud":"us"}`: "a", `{"aud":["them","us"]}`: "a", `{"aud":"them"}`: "", `{"aud":["us"," us"]}`: "a", `{"aud":["use"]}`: "", `{"aud":[]}`: "", `{"aud":null}`: "",
		`{"aud":{"us":1}}`: "", `{"aud":["us",1]}`: "", `{"iss":"me"}`: "i", `{"iss":"you"}`: "", `{"iss":["me"]}`: "", `{"iss":""}`: "", `{"aud":"us","iss":"me"}`: "aib", `{"aud":"US","iss":"me "}`: "",
	} {
		got := ""
		for name, r := range map[string]TokenRules{"a": {Audience: "us"}, "i": {Issuer: "me"}, "b": {Audience: "us", Issuer: "me"}} {
			r.Secrets = [][]byte{[]byte("secret")}
			if _, err := checked(t, verifierOf(t, r), bySecret(t, claims)); err == nil {
				got += name
			}
		}
		if len(got) != len(want) || strings.Trim(got, want) != "" {
			t.Errorf("%s: got taken by %q, want by %q", claims, got, want)
		}
	}
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}, Audience: "us"})
	if _, err := checked(t, v, bySecret(t, `{"aud":"them","exp":1}`)); !errors.Is(err, ErrBadToken) {
		t.Errorf("another audience's that has expired: got %v, want it bad, so that nobody asks for a newer one", err)
	}
}

// What a token says is bounded by its length, and no number of names in it takes long.
func TestATokenFullOfNamesIsRead(t *testing.T) {
	var names []string
	for i := range 900 {
		names = append(names, fmt.Sprintf(`"%d"`, i))
	}
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	got, err := checked(t, v, bySecret(t, `{"channels":[`+strings.Join(names, ",")+`]}`))
	if err != nil || len(got.Groups) != len(names) {
		t.Errorf("got %v, want %d groups", err, len(names))
	}
}
