package door

import (
	"cmp"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AppRequestError is why a backend's request is not one of the app's.
type AppRequestError struct {
	Reason string // a word for programs: malformed, key, version, timestamp, signature or body
	text   string
}

// Error is a sentence for the backend's author. It has nothing of the secret, and of the right signature nothing but what is to be signed.
func (e *AppRequestError) Error() string { return e.text }

func requestError(reason, format string, args ...any) error {
	return &AppRequestError{reason, fmt.Sprintf(format, args...)}
}

const (
	// requestAgeMax is how far the clock of a backend may be from ours. Within it who has seen a request can send it again.
	requestAgeMax = 600 // seconds

	// signedShownMax bounds what is shown of a text that should have been signed.
	signedShownMax = 1000 // bytes

	// appParamsMax bounds the parameters of a request, elements of arrays each. Libraries send a dozen at most, and nobody knows yet who asks.
	appParamsMax = 64
)

// SignsRequest says why the head of a request is not one that a backend of the app has signed, now; nil: it is. path is as the app's
// backends sign it: from /apps/ on, as it came on the wire; rawQuery likewise, without the question mark. The signature is over the body
// by its MD5 alone, bodyMD5, which is empty if there should be none: so it can be checked before there is a body, and strangers do not
// have us read and hash megabytes. The rest is for SignsBody.
func (a *App) SignsRequest(method, path, rawQuery string, now time.Time) (bodyMD5 string, err error) {
	query, err := ReadAppQuery(rawQuery)
	if err != nil {
		return "", err
	}
	at, wrong := strconv.ParseInt(query.Get("auth_timestamp"), 10, 64)
	switch {
	case query.Get("auth_key") == "":
		return "", requestError("key", "auth_key is missing: every request is signed, see the HTTP API of Pusher")
	case query.Get("auth_key") != a.Key:
		return "", requestError("key", "auth_key is not the key of app %s", a.ID)
	case query.Get("auth_version") != "1.0":
		return "", requestError("version", "auth_version is not 1.0")
	case wrong != nil:
		return "", requestError("timestamp", "auth_timestamp is not a number of seconds since 1970")
	}
	text := method + "\n" + path + "\n" + query.signed()
	if !a.hasSigned(text, []byte(query.Get("auth_signature"))) {
		return "", requestError("signature", "auth_signature is not the HMAC-SHA256, in hexadecimal, of %q by the secret of app %s", firstBytes(text, signedShownMax), a.ID)
	}
	if here := now.Unix(); at < here-requestAgeMax || at > here+requestAgeMax {
		return "", requestError("timestamp", "auth_timestamp is %d, and the clock here says %d: more than %d seconds apart; set the clocks", at, here, requestAgeMax)
	}
	return query.Get("body_md5"), nil
}

// SignsBody says why a body is not the one that a request tells of by its MD5, see SignsRequest; nil: it is.
func SignsBody(bodyMD5 string, body []byte) error {
	if bodyMD5 == "" {
		if len(body) > 0 {
			return requestError("body", "body_md5 is missing, and there is a body")
		}
		return nil
	}
	sum := md5.Sum(body)
	if subtle.ConstantTimeCompare([]byte(strings.ToLower(bodyMD5)), hex.AppendEncode(nil, sum[:])) == 0 {
		return requestError("body", "body_md5 is not the MD5 of the %d bytes of the body that came", len(body))
	}
	return nil
}

// firstBytes is a text, cut.
func firstBytes(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// AppQuery is the query of a backend's request, in the order of the names.
type AppQuery []appParam

type appParam struct{ name, value string }

// ReadAppQuery reads a query as it came on the wire, as it is signed: names in lower case, %xx decoded, and + is a plus. What has an
// index, as arrays of PHP have, a[0]=x&a[1]=y, is one with commas. The error is an *AppRequestError.
func ReadAppQuery(raw string) (query AppQuery, err error) {
	if raw == "" {
		return nil, nil
	}
	indexed := map[string]bool{}
	at := map[string]int{}
	if strings.Count(raw, "&") >= appParamsMax {
		return nil, requestError("malformed", "the query has more than %d parameters", appParamsMax)
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok := percentDecoded(name)
		value, is := percentDecoded(value)
		if !ok || !is {
			return nil, requestError("malformed", "the query has a %% that is not before two hexadecimal digits")
		}
		name, _, isIndexed := strings.Cut(strings.ToLower(name), "[")
		i, seen := at[name]
		switch {
		case !seen:
			at[name], indexed[name] = len(query), isIndexed
			query = append(query, appParam{name, value})
		case isIndexed && indexed[name]:
			query[i].value += "," + value
		default: // what is signed would have two meanings
			return nil, requestError("malformed", "the query has %q twice", firstBytes(name, 100))
		}
	}
	slices.SortFunc(query, func(a, b appParam) int { return cmp.Compare(a.name, b.name) })
	return query, nil
}

// Get is the value of a name, empty if there is none.
func (q AppQuery) Get(name string) string {
	for i := range q {
		if q[i].name == name {
			return q[i].value
		}
	}
	return ""
}

// signed is the part of the query that is signed.
func (q AppQuery) signed() string {
	var b strings.Builder
	for i := range q {
		if q[i].name == "auth_signature" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(q[i].name + "=" + q[i].value)
	}
	return b.String()
}

// percentDecoded is a text without %xx; false: one of them is not that. Package url would take + for a space.
func percentDecoded(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b = append(b, text[i])
			continue
		}
		if len(text)-i < 3 {
			return "", false
		}
		n, err := hex.AppendDecode(b, []byte(text[i+1:i+3]))
		if err != nil {
			return "", false
		}
		b, i = n, i+2
	}
	return string(b), true
}
