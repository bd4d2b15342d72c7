package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// oldLine is a publish of the old form.
func oldLine(group string, n int) string {
	return fmt.Sprintf(`{"method":"publish","params":{"channel":%q,"data":{"n":%d}}}`+"\n", group, n)
}

// chunked hides what a body is, so that its length is not said.
type chunked struct{ io.Reader }

func TestManyCommandsAreAnsweredInTheirOrder(t *testing.T) {
	s, b := newTestServer()
	url := s.test(t)
	const many = 3000
	var lines, batch strings.Builder
	batch.WriteString(`{"parallel":true,"commands":[`)
	for n := range many {
		lines.WriteString(oldLine("kept", n))
		if n > 0 {
			batch.WriteString(",\n")
		}
		fmt.Fprintf(&batch, `{"publish":{"channel":"kept","data":{"n":%d}}}`, n)
	}
	batch.WriteString(`],"rest":[1,2]}`)
	for _, c := range []struct {
		what, path, body string
		read             func(io.Reader) []int
	}{
		{"old form", "/api", lines.String(), func(r io.Reader) (offsets []int) {
			for d := json.NewDecoder(r); ; {
				var one struct{ Result struct{ Offset int } }
				if d.Decode(&one) != nil {
					return offsets
				}
				offsets = append(offsets, one.Result.Offset)
			}
		}},
		{"batch", "/api/batch", batch.String(), func(r io.Reader) (offsets []int) {
			var all struct {
				Replies []struct{ Publish struct{ Offset int } }
			}
			_ = json.NewDecoder(r).Decode(&all)
			for _, one := range all.Replies {
				offsets = append(offsets, one.Publish.Offset)
			}
			return offsets
		}},
	} {
		for how, body := range map[string]io.Reader{
			"whole": strings.NewReader(c.body), "in chunks": chunked{strings.NewReader(c.body)},
			"byte for byte": chunked{iotest.OneByteReader(strings.NewReader(c.body[:len(c.body)]))},
		} {
			b.mu.Lock()
			b.said, b.most, b.full = map[string][]Said{}, 0, 50
			b.mu.Unlock()
			answer := post(t, url+c.path, body)
			offsets := c.read(answer.Body)
			if answer.StatusCode != http.StatusOK || len(offsets) != many {
				t.Fatalf("%s, %s: got %d with %d answers, want %d", c.what, how, answer.StatusCode, len(offsets), many)
			}
			for i, offset := range offsets {
				if said := string(b.said["kept"][i].Payload); offset != i+1 || said != fmt.Sprintf(`{"n":%d}`, i) {
					t.Fatalf("%s, %s: answer %d has offset %d, and %s was said then", c.what, how, i, offset, said)
				}
			}
			if b.most > windowMax || how == "whole" && b.most < 2 {
				t.Errorf("%s, %s: %d publishes were under way at a time, want some, and at most %d", c.what, how, b.most, windowMax)
			}
		}
	}
}

func TestACommandComesBehindThePublishesBeforeIt(t *testing.T) {
	s, b := newTestServer()
	open := 0
	b.during = func() {
		if len(b.calls) > 0 {
			t.Error("a later command was carried out before a publish was settled")
		}
		open++
	}
	body := strings.Repeat(oldLine("g", 1), 5) + `{"method":"history_remove","params":{"channel":"g"}}`
	if status, answer := ask(s, "/api", body); status != 200 || open != 5 || len(b.calls) != 1 {
		t.Errorf("got %d %s, %d publishes and calls %q", status, answer, open, b.calls)
	}
}

// slowly gives the next part of a body when the answer to the one before has come.
func TestWhoWaitsForAnAnswerBeforeTheNextCommandGetsIt(t *testing.T) {
	s, _ := newTestServer()
	url := s.test(t)
	in, out := io.Pipe()
	go func() { _, _ = out.Write([]byte(oldLine("kept", 1))) }()
	answer := post(t, url+"/api", in)
	lines := bufio.NewScanner(answer.Body)
	for n := 1; n <= 20; n++ {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"offset":%d,`, n)) {
			t.Fatalf("answer %d: got %q, %v", n, lines.Text(), lines.Err())
		}
		if n < 20 {
			_, _ = out.Write([]byte(oldLine("kept", n+1)))
		}
	}
	out.Close()
	if lines.Scan() {
		t.Errorf("one more answer: %q", lines.Text())
	}
}

// late is a body that comes when what was begun before it is waited for no longer.
type late struct {
	io.ReadCloser
	s *Server
}

func (l late) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if old := l.s.waiting.now.Swap(nil); old != nil {
		old.cancel()
	}
	return n, err
}

// The loops get their time for a command when it has come, however long the client has taken to send it.
func TestWhoIsSlowToSendACommandGetsItsAnswerAllTheSame(t *testing.T) {
	s, _ := newTestServer()
	url := "http://" + testServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = late{r.Body, s}
		s.ServeHTTP(w, r)
	}))
	for path, c := range map[string]struct{ body, want string }{
		"/api":       {oldLine("g", 1), `{"result":{"members":3}}` + "\n"},
		"/api/batch": {`{"commands":[{"publish":{"channel":"g","data":1}}]}`, `{"replies":[{"publish":{"members":3}}]}`},
	} {
		for how, body := range map[string]io.Reader{"whole": strings.NewReader(c.body), "in chunks": chunked{strings.NewReader(c.body)}} {
			got, _ := io.ReadAll(post(t, url+path, body).Body)
			if string(got) != c.want {
				t.Errorf("%s, %s: got %s, want %s", path, how, got, c.want)
			}
		}
	}
}

// A body of unknown length that ends before its commands do is told from one that is no JSON.
func TestABodyThatBreaksOffIsNotCalledWrongJSON(t *testing.T) {
	s, _ := newTestServer()
	var broken func(r io.ReadCloser) io.ReadCloser
	url := "http://" + testServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = broken(r.Body)
		s.ServeHTTP(w, r)
	}))
	cut := oldLine("g", 1)[:20]
	for _, c := range []struct {
		path, body string
		ends       error
		status     int
		want       string
	}{
		{"/api", cut, nil, 400, "one behind the other"},
		{"/api", cut, os.ErrDeadlineExceeded, 400, "the body has not come"},
		{"/api", cut, &http.MaxBytesError{}, 413, "too long"},
		{"/api", oldLine("g", 1) + cut, os.ErrDeadlineExceeded, 200, "the rest of the body has not come"},
		{"/api", oldLine("g", 1), os.ErrDeadlineExceeded, 200, "the rest of the body has not come"},
		{"/api", oldLine("g", 1) + cut, &http.MaxBytesError{}, 200, "too long"},
		{"/api/batch", `{"parallel":`, os.ErrDeadlineExceeded, 400, "the body has not come"},
		{"/api/batch", `{"parallel":`, &http.MaxBytesError{}, 413, "too long"},
		{"/api/batch", `{"commands":[{"info":{}},`, os.ErrDeadlineExceeded, 200, "the rest of the body has not come"},
	} {
		broken = func(r io.ReadCloser) io.ReadCloser {
			if c.ends == nil {
				return r
			}
			return struct {
				io.Reader
				io.Closer
			}{io.MultiReader(r, iotest.ErrReader(c.ends)), r}
		}
		answer := post(t, url+c.path, chunked{strings.NewReader(c.body)})
		got, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != c.status || !strings.Contains(string(got), c.want) {
			t.Errorf("%s %s, then %v: got %d %s, want %d with %q", c.path, c.body, c.ends, answer.StatusCode, got, c.status, c.want)
		}
	}
}

// endless makes so many publishes as they are read.
type endless struct {
	left int
	pad  string // before each line
	rest []byte
}

func (e *endless) Read(p []byte) (n int, err error) {
	for len(e.rest) == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		e.rest = []byte(e.pad + oldLine("g", e.left))
	}
	n = copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// forgetful is a backend that keeps nothing of what is said, as the test is of memory.
type forgetful struct {
	*fakeBackend
}

func (b *forgetful) Offer(group string, _ Said) (Pending, error) {
	if group != "loud" {
		group = "g"
	}
	return fakePending{b.fakeBackend, group, Receipt{}}, nil
}

func TestAHundredThousandCommandsNeedNoMemoryOfThatSize(t *testing.T) {
	s, b := newTestServer()
	s.cfg.Backend = &forgetful{fakeBackend: b}
	url := s.test(t)
	const many = 100_000
	peak := heapPeak(t)
	answer := post(t, url+"/api", chunked{&endless{left: many, pad: strings.Repeat(" ", 400)}})
	n := 0
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); n++ {
		if lines.Text() != `{"result":{"members":0}}` {
			t.Fatalf("answer %d: got %s", n, lines.Text())
		}
	}
	if n != many {
		t.Errorf("got %d answers, want %d", n, many)
	}
	// The commands have 46 MB. Answers may wait for a client that is slow to read, and what is made during a collection counts as alive.
	if grown := peak(); grown > 20<<20 {
		t.Errorf("the heap grew by %d bytes, want no more than the answers have", grown)
	}
}

// heapPeak looks at what is alive until it is asked by how much that has grown at most.
func heapPeak(t *testing.T) func() int64 {
	alive := func() int64 {
		runtime.GC()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // what a collection has found, without what was made since
		metrics.Read(live)
		return int64(live[0].Value.Uint64())
	}
	before, end, most := alive(), make(chan struct{}), make(chan int64)
	go func() {
		grown := int64(0)
		for {
			select {
			case <-end:
				most <- grown
				return
			default:
				grown = max(grown, alive()-before)
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-most
	}
}

func TestWhoSendsEverythingBeforeReadingIsAnswered(t *testing.T) {
	s, b := newTestServer()
	s.cfg.Backend = &forgetful{fakeBackend: b}
	url := strings.TrimPrefix(s.test(t), "http://")
	c, err := net.Dial("tcp", url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	const many = 65_000 // whose answers are more than the kernel keeps, and less than the server does
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	body := bytes.NewBuffer(bytes.Repeat([]byte(oldLine("loud", 1)), many))
	fmt.Fprintf(c, "POST /api HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n", testKey, body.Len())
	if _, err := c.Write(body.Bytes()); err != nil {
		t.Fatalf("the server does not take everything: %v", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(answer.Body)
	if n := bytes.Count(all, []byte("\n")); n != many || err != nil {
		t.Errorf("got %d answers, %v, want %d", n, err, many)
	}
}

func TestAConnectionIsUsedAgainBehindAStream(t *testing.T) {
	s, _ := newTestServer()
	url := strings.TrimPrefix(s.test(t), "http://")
	c, err := net.Dial("tcp", url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	for _, request := range []struct{ path, body, want string }{
		{"/api", oldLine("g", 1), `{"result":{"members":3}}` + "\n"},
		{"/api", oldLine("g", 1) + "[]" + strings.Repeat(oldLine("g", 2), 2000), `{"result":{"members":3}}` + "\n" +
			`{"error":{"code":107,"message":"bad request: a command must be one JSON object in UTF-8, nested at most 512 deep"}}` + "\n"},
		{"/api/batch", `{"commands":[{"publish":{"channel":"g","data":1}}]}` + "\n\n", `{"replies":[{"publish":{"members":3}}]}`},
		{"/api", `{"method":"publish","params":{"channel":"g","data":"\"}{[\\"}}{"method":"publish","params":{"channel":"g","data":1}}`,
			strings.Repeat(`{"result":{"members":3}}`+"\n", 2)},
		{"/api/publish", `{"channel":"g","data":1}`, `{"result":{"members":3}}`},
	} {
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", request.path, testKey, len(request.body), request.body)
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", request.path, err)
		}
		if all, err := io.ReadAll(answer.Body); string(all) != request.want || err != nil || answer.StatusCode != 200 {
			t.Errorf("%s: got %d %s, %v", request.path, answer.StatusCode, all, err)
		}
	}
}

func TestWhatIsNoCommandEndsTheRequestInItsPlace(t *testing.T) {
	s, b := newTestServer()
	url := s.test(t)
	const notJSON = `"error":{"code":107,"message":"bad request: a command must be one JSON object in UTF-8, nested at most 512 deep"}}`
	for _, c := range []struct{ path, body, want string }{
		{"/api", oldLine("g", 1) + `[]` + oldLine("g", 2), `{"result":{"members":3}}` + "\n{" + notJSON + "\n"},
		{"/api", oldLine("g", 1) + `{"method":`, `{"result":{"members":3}}` + "\n{" + notJSON + "\n"},
		{"/api", oldLine("g", 1) + "{\"method\":\"\xff\"}" + oldLine("g", 2), `{"result":{"members":3}}` + "\n{" + notJSON + "\n"},
		{"/api/batch", `{"commands":[{"publish":{"channel":"g","data":1}},7,{}]}`, `{"replies":[{"publish":{"members":3}},{` + notJSON + `]}`},
		{"/api/batch", `{"commands":[{"publish":{"channel":"g","data":1}},`, `{"replies":[{"publish":{"members":3}},{` + notJSON + `]}`},
		{"/api/batch", `{"commands":[{"publish":{"channel":"g","data":1}},]}`, `{"replies":[{"publish":{"members":3}},{` + notJSON + `]}`},
		{"/api/batch", `{"commands":[{"publish":{"channel":"g","data":1}} {}]}`, `{"replies":[{"publish":{"members":3}},{` + notJSON + `]}`},
		{"/api/batch", `{"commands":["\xff"]}`, `{"replies":[{` + notJSON + `]}`},
	} {
		for _, body := range []io.Reader{strings.NewReader(c.body), chunked{strings.NewReader(c.body)}} {
			b.mu.Lock()
			b.said = map[string][]Said{}
			b.mu.Unlock()
			answer := post(t, url+c.path, body)
			if strings.Contains(c.body, "\xff") && answer.StatusCode == 400 && answer.ContentLength > 0 {
				continue // a short body is looked at as a whole
			}
			got, err := io.ReadAll(answer.Body)
			if string(got) != c.want || err != nil || answer.StatusCode != 200 {
				t.Errorf("%s %q:\ngot  %d %s, %v\nwant     %s", c.path, c.body, answer.StatusCode, got, err, c.want)
			}
			if n := len(b.said["g"]); n > 1 {
				t.Errorf("%s %q: %d were said", c.path, c.body, n)
			}
		}
	}
}

func TestACommandAmongManyIsBounded(t *testing.T) {
	s, b := newTestServer()
	url := s.test(t)
	long := `{"method":"publish","params":{"channel":"g","data":"` + strings.Repeat("x", commandBytesMax) + `"}}`
	answer := post(t, url+"/api", chunked{strings.NewReader(oldLine("g", 1) + long + oldLine("g", 2))})
	got, _ := io.ReadAll(answer.Body)
	if want := `{"result":{"members":3}}` + "\n" + `{"error":{"code":107,"message":"bad request: the command is too long"}}` + "\n"; string(got) != want {
		t.Errorf("got %.300s, want %s", got, want)
	}
	if len(b.said["g"]) != 1 {
		t.Errorf("said: got %d, want the first alone", len(b.said["g"]))
	}
}

func TestAClientThatGoesAwayEndsItsStream(t *testing.T) {
	s, b := newTestServer()
	s.cfg.Backend = &forgetful{fakeBackend: b}
	done := make(chan struct{})
	ts := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		close(done)
	})
	url := testServer(t, ts)
	c, err := net.Dial("tcp", url)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST /api HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 100000000\r\n\r\n%s", testKey, oldLine("g", 1))
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the request is still being answered")
	}
}
