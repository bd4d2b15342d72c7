package certs

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// reasons listens to what an authority answers, for why it has not believed that a domain is ours: autocert tries the next kind of
// challenge without a word, and in the end only says that there is none left.
//
// Owner: any goroutine.
type reasons struct {
	next http.RoundTripper

	mu   sync.Mutex
	why  map[string][]string // by domain, of the last try
	last string              // why the last question was not answered as it should be; empty: they were
}

const (
	answerBytesMax = 256 << 10 // of an answer that is looked at; authorizations have some 1 KB
	reasonBytesMax = 400       // of what is kept of one
	reasonsMax     = 4         // of a domain
)

// RoundTrip is part of http.RoundTripper.
func (s *reasons) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.next.RoundTrip(r)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = err.Error()
		return answer, err
	}
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") && !strings.HasPrefix(kind, "application/problem+json") {
		return answer, nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	rest := answer.Body
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), rest), rest}
	if err != nil {
		return answer, nil // who reads on meets it too
	}
	if answer.StatusCode >= http.StatusBadRequest {
		var problem struct{ Type, Detail string }                                                   // RFC 7807, RFC 8555 §6.7
		if json.Unmarshal(text, &problem) == nil && !strings.HasSuffix(problem.Type, ":badNonce") { // which is every day's
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = cut(problem.Detail)
		}
		return answer, nil
	}
	var authorization struct { // RFC 8555 §7.1.4
		Status     string
		Identifier struct{ Value string }
		Challenges []struct {
			Type  string
			Error struct{ Detail string }
		}
	}
	if json.Unmarshal(text, &authorization) != nil || authorization.Status != "invalid" {
		return answer, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range authorization.Challenges {
		if name := authorization.Identifier.Value; c.Error.Detail != "" && len(s.why[name]) < reasonsMax {
			s.why[name] = append(s.why[name], c.Type+": "+cut(c.Error.Detail))
		}
	}
	return answer, nil
}

// cut is a text of an authority within its bound.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), reasonBytesMax)], "")
}

// trouble is why the last question was not answered as it should be, and forgets it; empty: they were.
func (s *reasons) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := s.last
	s.last = ""
	return why
}

// take is why a domain was not believed to be ours, and forgets it; empty: that was not the reason.
func (s *reasons) take(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := strings.Join(s.why[name], "; ")
	delete(s.why, name)
	return why
}
