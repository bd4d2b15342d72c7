package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/cli/settings"
	"ringcast/loop/door"
)

// keyFetcher fetches the JWKS that tokens are checked with, where an address is configured, beside the loops: they go on with the last
// good set, however long that takes, and whatever comes.
//
//	fetch ──► wait: as long as the server says, 1 m to 1 h; 10 s, later 1 m, if it failed ──► fetch …
//	               a token names a key that is not in the set: until 10 s after the last fetch
//
// Any goroutine.
type keyFetcher struct {
	log      *slog.Logger
	http     *http.Client
	now      func() time.Time
	after    func(time.Duration) <-chan time.Time // as time.After, except in tests
	patience time.Duration                        // fetchPatience, except in tests

	mu      sync.Mutex // of the next five
	url     string     // what is followed; empty: nothing
	cancel  context.CancelFunc
	first   <-chan struct{} // closed when the first fetch from url is over
	came    time.Time       // when a fetch from url has brought keys last; zero: never
	failure string          // why the last fetch from url has brought none; empty: it has

	done, failed atomic.Uint64
}

// Times of fetches.
const (
	fetchTimeout  = 10 * time.Second // for one fetch, from the look-up of the name to the last byte
	fetchSoonest  = 10 * time.Second // from one fetch to the next, whatever happens
	fetchRetryMax = time.Minute      // from a failure to the next fetch; each failure doubles the time
	freshMin      = time.Minute
	freshMax      = time.Hour
	freshUsual    = 10 * time.Minute // where the server does not say how long its answer is good
	fetchPatience = 3 * time.Second  // for which a start, or a reload that names another address, waits for the first set
)

const (
	redirectsMax       = 3
	fetchHeadBytesMax  = 64 << 10
	fetchConnectionMax = 1
)

func newKeyFetcher(log *slog.Logger, patience time.Duration) *keyFetcher {
	return &keyFetcher{log: log, patience: patience, now: time.Now, after: time.After, http: &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // the next fetch is minutes later
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        fetchConnectionMax,
			MaxResponseHeaderBytes: fetchHeadBytesMax,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > redirectsMax {
				return errors.New("the server redirects too often")
			}
			if settings.CheckJWKSURL(r.URL) != nil {
				return errors.New("the server redirects to an address that is not encrypted")
			}
			return nil
		},
	}}
}

// follow has a Verifier, and all that share its JWKS, work with the keys at an address from now on; empty: with none that are fetched.
// An address that is followed already still is. It does not wait; see await.
func (f *keyFetcher) follow(address string, into *door.Verifier) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if address == f.url {
		return
	}
	f.halt()
	if f.url = address; address == "" {
		return
	}
	f.came, f.failure = time.Time{}, "which has not come yet"
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	f.cancel, f.first = cancel, first
	go f.run(ctx, address, into, sync.OnceFunc(func() { close(first) }))
}

// await waits until the first fetch from the address that is followed is over, but not for long: a server that hangs keeps nobody out
// who needs none of its keys.
func (f *keyFetcher) await(ctx context.Context) {
	f.mu.Lock()
	first, address := f.first, f.url
	f.mu.Unlock()
	if first == nil {
		return
	}
	select {
	case <-first:
	case <-f.after(f.patience):
		f.log.Warn("the keys for tokens have not come yet; tokens that need them are refused until they have", "jwks", shownURL(address))
	case <-ctx.Done():
	}
}

// outcome is when a fetch has brought keys last, zero for never, and why the last one has brought none; empty: it has.
func (f *keyFetcher) outcome() (came time.Time, failure string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.came, f.failure
}

// is notes how a fetch has ended, unless another address is followed by now.
func (f *keyFetcher) is(ctx context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.failure = "which cannot be fetched: " + err.Error()
	default:
		f.came, f.failure = f.now(), ""
	}
}

// warning is a sentence for an operator whose keys cannot be fetched; empty: they can, or none are to be.
func (f *keyFetcher) warning() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.url == "" || f.failure == "" {
		return ""
	}
	meanwhile := "none have come yet, so tokens that need them are refused"
	if !f.came.IsZero() {
		meanwhile = "tokens are checked with those that came last"
	}
	return fmt.Sprintf("The keys for tokens are at %s, %s; %s.", shownURL(f.url), f.failure, meanwhile)
}

// stop ends the following. A fetch that is under way is given up; what it would bring is not taken.
func (f *keyFetcher) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt()
}

// halt is stop for who holds the lock.
func (f *keyFetcher) halt() {
	if f.cancel != nil {
		f.cancel()
		f.url, f.cancel, f.first = "", nil, nil
	}
}

// metrics are the fetches for Prometheus.
func (f *keyFetcher) metrics() []prometheus.Collector {
	counter := func(result string, count *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ringcast_jwks_fetches_total", Help: "Fetches of the keys for tokens by result. After one that failed the keys are those of the last that did not.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(count.Load()) })
	}
	return []prometheus.Collector{counter("done", &f.done), counter("failed", &f.failed)}
}

// run fetches until ctx is done. over is called after each fetch.
func (f *keyFetcher) run(ctx context.Context, address string, into *door.Verifier, over func()) {
	var last answer
	retry, told := fetchSoonest, ""
	for {
		select {
		case <-into.WantsJWKS(): // whoever has wanted it before now gets it
		default:
		}
		began := f.now()
		got, err := f.fetch(ctx, address, last.etag)
		if ctx.Err() != nil {
			over()
			return
		}
		f.is(ctx, err)
		wait := got.fresh
		if err == nil {
			f.done.Add(1)
			if got.set != nil {
				into.SetJWKS(got.set)
				f.log.Debug("fetched the keys for tokens", "jwks", shownURL(address), "keys", got.set.Len(), "fresh_for", got.fresh)
				last = got
			}
			if told != "" {
				f.log.Info("the keys for tokens can be fetched again", "jwks", shownURL(address))
			}
			retry, told = fetchSoonest, ""
		} else {
			f.failed.Add(1)
			wait, retry = retry, min(2*retry, fetchRetryMax)
			if why := err.Error(); why != told { // one line for an outage, however long it is
				meanwhile := "tokens are checked with those that came last"
				if last.set.Len() == 0 {
					meanwhile = "none have come yet, so tokens that need them are refused"
				}
				f.log.Warn("the keys for tokens cannot be fetched; "+meanwhile, "jwks", shownURL(address),
					"keys", last.set.Len(), "err", why)
				told = why
			}
		}
		over()
		select {
		case <-ctx.Done():
			return
		case <-f.after(wait):
		case <-into.WantsJWKS():
			select {
			case <-ctx.Done():
				return
			case <-f.after(max(0, fetchSoonest-f.now().Sub(began))):
			}
		}
	}
}

// answer is what a fetch has brought.
type answer struct {
	set   *door.JWKS // nil: it is still the last one
	etag  string     // its name at the server; empty: it has none
	fresh time.Duration
}

// fetch asks for the JWKS once; etag names the one that is here.
func (f *keyFetcher) fetch(ctx context.Context, address, etag string) (got answer, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return got, errors.New("the address cannot be read")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "ringcast")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	reply, err := f.http.Do(r)
	if err != nil {
		return got, bare(err)
	}
	defer reply.Body.Close()
	got.fresh = freshFor(reply.Header)
	switch {
	case reply.StatusCode == http.StatusNotModified && etag != "":
		return got, nil
	case reply.StatusCode != http.StatusOK:
		return got, fmt.Errorf("the server answers %d", reply.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, door.JWKSBytesMax+1))
	if err != nil {
		return got, fmt.Errorf("the answer cannot be read: %w", bare(err))
	}
	if got.set, err = door.ReadJWKS(text); err != nil {
		return got, fmt.Errorf("the answer %w", err)
	}
	got.etag = reply.Header.Get("ETag")
	return got, nil
}

// bare is an error without the address, whose query may have a secret in it.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		if of.Timeout() {
			return errors.New("the server has not answered in time")
		}
		return of.Err
	}
	return err
}

// shownURL is an address for the log.
func shownURL(address string) string {
	shown, _, _ := strings.Cut(address, "?")
	return shown
}

// freshFor is how long an answer is good, by its Cache-Control field (RFC 9111 §5.2.2), within our own bounds.
func freshFor(head http.Header) time.Duration {
	fresh := freshUsual
	for directive := range strings.SplitSeq(strings.Join(head.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return freshMin
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(fresh, freshMin), freshMax)
}
