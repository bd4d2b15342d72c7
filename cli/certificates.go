package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/certs"
	"ringcast/cli/settings"
)

// certificates are those of a server's TLS addresses; nil where there are none. They are read before the loops start, so that a wrong one
// affects no client, and seen to from the moment when clients are let in, among which are those of an ACME server's challenges, until
// every client has been told of a stop: then it is for the successor.
type certificates struct {
	store *certs.Store
	end   func()
}

// openCertificates reads them. A mistake of the operator is a UsageError.
func openCertificates(s *settings.Settings, log *slog.Logger) (*certificates, error) {
	var store *certs.Store
	var err error
	switch {
	case len(s.TLS.Pairs) > 0:
		store, err = certs.Open(s.TLS.Pairs, certs.Options{Log: log})
	case len(s.TLS.ACME.Domains) > 0:
		o := s.TLS.ACME
		o.Log = log
		store, err = certs.NewACME(o)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, wrongFile(s, err)
	}
	return &certificates{store: store, end: func() {}}, nil
}

// wrongFile is a mistake in a file as the operator's.
func wrongFile(s *settings.Settings, err error) error {
	var in *certs.FileError
	if errors.As(err, &in) {
		return s.TLS.Wrong(in)
	}
	return err
}

// config is for the loops.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return c.store.Config()
}

// run sees to them until stop is called.
func (c *certificates) run() {
	if c == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	go c.store.Run(ctx)
}

// stop waits for nothing: an ACME server may take its time.
func (c *certificates) stop() {
	if c != nil {
		c.end()
	}
}

// reload reads them again, as settings name them now: all, or none and a UsageError. renewed are files with other contents.
func (c *certificates) reload(s *settings.Settings) (renewed []string, err error) {
	if c == nil {
		return nil, nil
	}
	if renewed, err = c.store.Reload(s.TLS.Pairs); err != nil {
		return nil, wrongFile(s, err)
	}
	return renewed, nil
}

// status is what there is, for people.
func (c *certificates) status() []certs.Certificate {
	if c == nil {
		return nil
	}
	return c.store.Status()
}

// trouble is why no client can come, where all have to come by TLS; empty: they can.
func (c *certificates) trouble(plain []net.Addr) string {
	if c == nil || len(plain) > 0 || !c.store.None() {
		return ""
	}
	return "no certificate has been obtained yet, and clients can come by TLS alone; " + strings.Join(c.store.Warnings(), " ")
}

// warnings are sentences for an operator.
func (c *certificates) warnings() []string {
	if c == nil {
		return nil
	}
	return c.store.Warnings()
}

// metrics are for Prometheus.
func (c *certificates) metrics() []prometheus.Collector {
	if c == nil {
		return nil
	}
	return []prometheus.Collector{c.store}
}

// challenges has an ACME server's be answered, where certificates are obtained from one.
func (c *certificates) challenges() func(http.Handler) http.Handler {
	if c == nil {
		return nil
	}
	return c.store.HTTPHandler
}

// certificatesText is a line of status for each certificate.
func certificatesText(all []certs.Certificate) string {
	var b strings.Builder
	label := "tls"
	for _, c := range all {
		names := "no name"
		if len(c.Names) > 0 {
			names = strings.Join(c.Names[:min(len(c.Names), namesShown)], " ")
		}
		if more := len(c.Names) - namesShown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		state := "no certificate yet"
		switch {
		case c.NotAfter.IsZero() || c.Days == nil:
		case *c.Days < 0:
			state = "EXPIRED on " + c.NotAfter.Format("2006-01-02")
		default:
			state = many(*c.Days, "day") + " left"
		}
		fmt.Fprintf(&b, "%-9s%s    %s", label, names, state)
		if c.Failure != "" {
			fmt.Fprintf(&b, "    last try failed: %s", c.Failure)
			if !c.NextTry.IsZero() {
				fmt.Fprintf(&b, "    next try %s", c.NextTry.UTC().Format("15:04:05 MST"))
			}
		}
		b.WriteString("\n")
		label = ""
	}
	return b.String()
}

// namesShown is how many names of a certificate status has in a line.
const namesShown = 3
