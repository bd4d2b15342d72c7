package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Bounds of the embedded server.
const (
	payloadMax       = 8 << 20   // bytes of a message with what goes with it
	serverPendingMax = 256 << 20 // bytes that wait for one connection, before the server cuts it
	serverMemoryMax  = 64 << 20  // bytes of streams in memory, of which there are none
	serverStart      = 30 * time.Second
	routePing        = 10 * time.Second // between nodes, and
	routePings       = 3                // so many without an answer: the connection is cut, and made again
)

// Bounds of the connection to the servers.
const (
	readPendingMax      = 65536    // messages of a partition that wait to be read here. What is beyond them is missed, and fetched from the log
	readPendingBytesMax = 32 << 20 // the same, in bytes
)

// connect starts the embedded server, or finds those that others operate, and connects to them.
func (c *Cluster) connect(ctx context.Context) (err error) {
	options := []nats.Option{
		nats.Name("ringcast " + c.config.Node),
		nats.ReconnectBufSize(-1), // nothing may be sent later than we believe
		nats.MaxReconnects(-1),
		nats.ReconnectWait(tick),
		nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				c.counters.slow.Add(1)
				return
			}
			c.log.Warn("the connection to NATS", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if c.ctx.Err() == nil {
				c.log.Warn("the connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.log.Info("the connection to NATS is back") }),
	}
	if c.config.NATS != "" {
		stop := c.waiting(func() string { return "a NATS server at " + withoutPassword(c.config.NATS) })
		defer stop()
		for {
			if c.conn, err = nats.Connect(c.config.NATS, options...); err == nil {
				c.warnOfSmall()
				return nil
			}
			if errors.Is(err, nats.ErrAuthorization) {
				return &ConfigError{"the NATS servers do not let this node in", "put user and password or a token into the URL of --cluster-nats"}
			}
			if !pause(ctx, tick) {
				return fmt.Errorf("connecting to NATS: %w", err)
			}
		}
	}
	if c.store, err = openStore(c.config); err != nil {
		return err
	}
	password := newBoot() + newBoot()
	if err := c.startServer(password); err != nil {
		return err
	}
	options = append(options, nats.InProcessServer(c.server), nats.Token(password))
	for {
		if c.conn, err = nats.Connect("", options...); err == nil {
			return nil
		}
		if !pause(ctx, tick) {
			return fmt.Errorf("connecting to the embedded server: %w", err)
		}
	}
}

// warnOfSmall says so where servers of others take no messages as large as clients may send: such are refused one by one.
func (c *Cluster) warnOfSmall() {
	if takes := c.conn.MaxPayload(); takes < int64(c.config.MessageMax)+headerMax {
		c.log.Warn("the NATS servers take smaller messages than clients may send; larger ones will be refused. Raise max_payload there, or lower --message-max",
			"max_payload", takes, "message_max", c.config.MessageMax, "goes_with_it_at_most", headerMax)
	}
}

// startServer starts the embedded server. password is for its clients, of which there is one, in this process.
func (c *Cluster) startServer(password string) error {
	options := &server.Options{
		ServerName:             c.config.Node,
		Host:                   "127.0.0.1", // where it must listen to be one of several, though nobody is to come there
		Port:                   server.RANDOM_PORT,
		DontListen:             c.config.alone(),
		Authorization:          password,
		NoSigs:                 true,
		MaxPayload:             payloadMax,
		MaxPending:             serverPendingMax,
		JetStream:              true,
		StoreDir:               c.config.StoreDir,
		JetStreamMaxStore:      c.config.StoreMax,
		JetStreamMaxMemory:     serverMemoryMax,
		SyncAlways:             c.config.Sync,
		DisableJetStreamBanner: true,
	}
	if !c.config.alone() {
		if err := routeOptions(options, c.config); err != nil {
			return err
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return &ConfigError{"the embedded server does not accept its options: " + err.Error(), "check --cluster-node, --cluster-listen and --store-dir"}
	}
	log := &serverLog{log: c.log.With("from", "nats")}
	s.SetLoggerV2(log, false, false, false)
	c.server = s
	s.Start()
	for deadline := time.Now().Add(serverStart); ; {
		if fatal := log.fatal.Load(); fatal != nil {
			return &ConfigError{"the embedded server has not started: " + *fatal, "check --cluster-listen and --store-dir"}
		}
		if s.ReadyForConnections(tick) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the embedded server is not ready after %v", serverStart)
		}
	}
}

// routeOptions has the server find the other nodes.
func routeOptions(options *server.Options, config Config) error {
	host, port, err := hostPort(config.Listen)
	if err != nil {
		return &ConfigError{fmt.Sprintf("--cluster-listen %q is no address", config.Listen), "say host:port"}
	}
	options.Cluster = server.ClusterOpts{
		Name: config.Name, Host: host, Port: port,
		PingInterval: routePing, MaxPingsOut: routePings,
		NoAdvertise: true, // all nodes are named by the operator, by addresses that are good from outside
		Compression: server.CompressionOpts{Mode: server.CompressionOff},
	}
	var user *url.Userinfo
	if config.Token != "" {
		options.Cluster.Username, options.Cluster.Password = "ringcast", config.Token
		user = url.UserPassword("ringcast", config.Token)
	}
	if config.TLS != (TLS{}) {
		if options.Cluster.TLSConfig, err = routeTLS(config.TLS); err != nil {
			return err
		}
		options.Cluster.TLSTimeout = 5 // s
	}
	for _, peer := range config.Peers {
		if peer != config.Listen {
			options.Routes = append(options.Routes, &url.URL{Scheme: "nats-route", Host: peer, User: user})
		}
	}
	return nil
}

// routeTLS is how nodes judge each other: both sides show a certificate.
func routeTLS(files TLS) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, &ConfigError{"the certificate of the cluster cannot be read: " + err.Error(), "check --cluster-tls-cert and --cluster-tls-key"}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, &ConfigError{"the authority of the cluster cannot be read: " + err.Error(), "check --cluster-tls-ca"}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, &ConfigError{"there is no certificate in " + files.CA, "name a PEM file by --cluster-tls-ca"}
		}
		config.RootCAs, config.ClientCAs = pool, pool
	}
	return config, nil
}

// hostPort splits an address; the port must be a number.
func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// withoutPassword is a list of URLs as it may be logged.
func withoutPassword(urls string) string {
	parts := strings.Split(urls, ",")
	for i, text := range parts {
		if at := strings.LastIndexByte(text, '@'); at >= 0 {
			scheme, _, found := strings.Cut(text, "://")
			if !found {
				scheme = "nats"
			}
			parts[i] = scheme + "://" + text[at+1:]
		}
	}
	return strings.Join(parts, ",")
}

// pause waits, and says whether there is a reason to go on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// serverLog writes the log of the embedded server into ours, one level less loud: what it calls an error is most often that another node is not there, and of what
// matters here this package says itself.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // why it does not run
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Info(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  {}
func (l *serverLog) Tracef(format string, v ...any)  {}
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.log.Error(text)
}
