package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Times of requests.
const (
	gatherTime = 100 * time.Millisecond // for which a request that is not full waits for more
	tellTime   = 10 * time.Second       // for a request, from the look-up of the name to the last byte of the answer
	tellFor    = 5 * time.Minute        // for which it is tried again
	pauseFirst = time.Second            // after a failure; each further one doubles it
	pauseMax   = time.Minute
)

const (
	answerHeadMax = 16 << 10
	answerMax     = 64 << 10 // of an answer that are read, so that its connection can be used again
)

// newClient is for all targets. Its transport is a real one but in tests.
func newClient(by http.RoundTripper) *http.Client {
	if by == nil {
		by = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: answerHeadMax,
			IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 16,
		}
	}
	return &http.Client{Timeout: tellTime, Transport: by,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // what is signed is for the address that the operator knows
}

// tell tells what is in the queue, a request after the other, and ends when it is empty.
func (t *target) tell() {
	var pause time.Duration // before the next request: the last one has failed
	for {
		if pause == 0 && !t.isFull() {
			t.gather()
		}
		batch := t.next()
		if batch == nil {
			return
		}
		pause = t.deliver(batch, pause)
		for i := range batch {
			t.release(&batch[i])
		}
		clear(batch)
	}
}

// deliver makes the request with a batch, again and again until it is taken, or its events have waited for so long that they are lost: what is
// behind them waits all the same, for their order. pause is before the next request.
func (t *target) deliver(batch []event, pause time.Duration) time.Duration {
	h, text := t.hooks, bodyOf(batch, time.Now().UnixMilli())
	late := batch[len(batch)-1].since.Add(tellFor)
	var err error
	for pause == 0 || time.Now().Before(late) {
		t.wait(pause)
		if h.over.Err() != nil || t.app.Load() == nil {
			h.dropped.Add(uint64(len(batch)))
			return pause
		}
		if err = t.post(text); err == nil {
			if pause > 0 {
				h.log.Info("the webhook of an app is taken again", "app", t.id, "waiting", t.events.Load())
			}
			h.done.Add(1)
			h.told.Add(uint64(len(batch)))
			return 0
		}
		h.failed.Add(1)
		if pause == 0 {
			h.log.Warn("the webhook of an app is not taken; it is tried again, for 5 minutes", "app", t.id, "err", err)
		}
		if pause = min(max(2*pause, pauseFirst), pauseMax); h.isClosing() {
			break
		}
	}
	if err != nil {
		h.log.Warn("the webhook of an app was not taken in time, and events are lost", "app", t.id, "events", len(batch), "err", err)
	}
	h.lost.Add(uint64(len(batch)))
	return pause
}

// gather waits for more to be told with what there is.
func (t *target) gather() {
	select {
	case <-time.After(gatherTime):
	case <-t.hooks.hurried:
	}
}

// wait waits, but not if all is to end, or the app is another.
func (t *target) wait(d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-t.changed:
	case <-t.hooks.closing:
	}
}

// post makes a request.
func (t *target) post(text []byte) error {
	app := t.app.Load()
	if app == nil {
		return errors.New("the app is gone")
	}
	r, err := http.NewRequestWithContext(t.hooks.over, http.MethodPost, app.Webhook, bytes.NewReader(text))
	if err != nil {
		return errors.New("the address cannot be read")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ringcast")
	r.Header["X-Pusher-Key"] = []string{app.Key}
	r.Header["X-Pusher-Signature"] = []string{app.Sign(text)}
	reply, err := t.hooks.http.Do(r)
	if err != nil {
		return bare(err)
	}
	defer reply.Body.Close()
	_, _ = io.CopyN(io.Discard, reply.Body, answerMax)
	if reply.StatusCode/100 != 2 {
		return fmt.Errorf("the backend answers %d", reply.StatusCode)
	}
	return nil
}

// bare is an error without the address, whose query may have a secret in it.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		if of.Timeout() {
			return errors.New("the backend has not answered in time")
		}
		return of.Err
	}
	return err
}
