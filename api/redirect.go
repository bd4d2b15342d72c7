package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Redirect answers plain HTTP on a port of its own, mostly 80: it sends browsers to the same address with https, and answers what an
// ACME server asks. Nothing else is served there: what a page would send it, such as a token, would be readable on its way.
//
// Owner: any goroutine.
type Redirect struct {
	http   *http.Server
	closed chan struct{} // closed when no more connections are accepted

	sent, challenges, refused atomic.Uint64
}

// RedirectConfig is what ServeRedirect needs.
type RedirectConfig struct {
	Port       string                          // of the addresses that browsers are sent to; empty: the usual one, 443
	Challenges func(http.Handler) http.Handler // answers those of an ACME server, and has the rest answered by the handler; nil: there are none
	Log        *slog.Logger                    // for errors of the HTTP server
}

// RedirectConnectionsMax bounds the connections of a Redirect; further ones wait in the kernel's queue. Each has one answer, so few do for
// many browsers, and each is a descriptor that no client has.
const RedirectConnectionsMax = 64

const redirectHeadBytesMax = 16 << 10

// acmeChallengePath is where an ACME server asks (RFC 8555 §8.3).
const acmeChallengePath = "/.well-known/acme-challenge/"

// ServeRedirect answers on a listener, which it takes over, and returns at once. The caller ends it with Withdraw and Close.
func ServeRedirect(listener net.Listener, cfg RedirectConfig) *Redirect {
	d := &Redirect{closed: make(chan struct{})}
	var answer http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.send(w, r, cfg.Port) })
	if cfg.Challenges != nil {
		answer = cfg.Challenges(answer)
	}
	d.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if cfg.Challenges != nil && strings.HasPrefix(r.URL.Path, acmeChallengePath) {
				d.challenges.Add(1)
			}
			ignoreBody(w, r)
			answer.ServeHTTP(w, r)
		}),
		MaxHeaderBytes:               redirectHeadBytesMax,
		ReadHeaderTimeout:            headTimeout,
		ReadTimeout:                  requestTimeout,
		WriteTimeout:                 requestTimeout,
		ErrorLog:                     slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // peers can cause these as fast as they like
		DisableGeneralOptionsHandler: true,
	}
	d.http.SetKeepAlivesEnabled(false) // browsers go on elsewhere
	go func() {
		defer close(d.closed)
		if err := d.http.Serve(limit(listener, RedirectConnectionsMax)); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.Error("the address for plain HTTP has failed; browsers are not sent to https any more", "err", err)
		}
	}()
	return d
}

// send sends a browser to the same address with https. What is no GET is to be said again there with its method and its body, hence 308
// (RFC 9110 §15.4.9).
func (d *Redirect) send(w http.ResponseWriter, r *http.Request, port string) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if !isHostName(host) || !strings.HasPrefix(r.RequestURI, "/") && !strings.HasPrefix(r.RequestURI, "http://") {
		d.refused.Add(1)
		plain(w, http.StatusBadRequest, "the request names no host to go on at; come by https\n")
		return
	}
	d.sent.Add(1)
	switch {
	case cmp.Or(port, "443") != "443":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	status := http.StatusPermanentRedirect
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
	text := "come by https\n"
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		text = "WebSockets do not follow this: connect to wss://" + host + r.URL.EscapedPath() + "\n" // what is behind the path may be a token
	}
	plain(w, status, text)
}

// isHostName says whether a text can be a host in an address: a name, or an IP address without brackets. It goes into an answer.
func isHostName(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return host != "" && len(host) <= hostBytesMax
}

const hostBytesMax = 253 // RFC 1035 §2.3.4

// Withdraw gives up the address, so that another server can have it. It does not wait for answers that are under way; Close does.
func (d *Redirect) Withdraw() {
	go func() { _ = d.http.Shutdown(context.Background()) }() // it ends with the last answer, or with Close
	<-d.closed
}

// Close ends it: answers that are under way are sent until ctx is done.
func (d *Redirect) Close(ctx context.Context) {
	if d.http.Shutdown(ctx) != nil {
		d.http.Close()
	}
	<-d.closed
}

var redirectRequests = prometheus.NewDesc("ringcast_redirect_requests_total",
	"Requests of plain HTTP on the address for it, by kind: sent to https, challenges of an ACME server, refused as they name no host.", []string{"kind"}, nil)

// Describe is part of prometheus.Collector.
func (d *Redirect) Describe(out chan<- *prometheus.Desc) { out <- redirectRequests }

// Collect is part of prometheus.Collector.
func (d *Redirect) Collect(out chan<- prometheus.Metric) {
	for kind, n := range map[string]*atomic.Uint64{"sent": &d.sent, "challenge": &d.challenges, "refused": &d.refused} {
		out <- prometheus.MustNewConstMetric(redirectRequests, prometheus.CounterValue, float64(n.Load()), kind)
	}
}
