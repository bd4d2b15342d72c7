package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"ringcast/bench/ceiling"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// frontVerb is nginx in front of ringcast, as one server: its processes are in one group, so what they consume is summed up. It is started
// by compare.
type frontVerb struct {
	Listen string `required:"" help:"Where nginx listens."`
	Server string `required:"" help:"The program ringcast."`
	Dir    string `required:"" help:"A directory with a certificate, for all else too."`
}

// nginxPeer is its name among the peers.
const nginxPeer = "nginx"

// secureContenders are what TLS is compared with.
func secureContenders(name, ringcast, scratch string) ([]contender, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	wire := wireFlags{TLS: true}
	start := func(addr string, _ int) []string {
		return []string{program, "ceiling", "--serve", report.Goroutines, "--listen", addr}
	}
	if name == nginxPeer {
		if _, err := nginx(); err != nil {
			return nil, err
		}
		name = "nginx before ringcast"
		start = func(addr string, _ int) []string {
			return []string{program, "front", "--listen", addr, "--server", ringcast, "--dir", scratch}
		}
	}
	return []contender{{name, "", start, nil, client.Plain, 0, wire}}, nil
}

// nginx is the path of the program.
func nginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("nginx is not installed (Debian: apt-get install nginx-light): leave it out of --with")
}

// nginxConfig is what nginx's own page on WebSockets says, with as many workers as cores, and connections to ringcast from several
// addresses, since one has too few ports.
const nginxConfig = `daemon off;
pid {dir}/nginx.pid;
error_log stderr warn;
worker_processes auto;
events { worker_connections 32768; }
http {
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	split_clients $remote_addr$remote_port $from { 25% 127.0.0.1; 25% 127.0.0.2; 25% 127.0.0.3; * 127.0.0.4; }
	server {
		listen {listen} ssl;
		ssl_certificate {cert};
		ssl_certificate_key {key};
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_session_cache shared:s:10m;
		location / {
			proxy_pass http://{server};
			proxy_bind $from;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host $host;
			proxy_read_timeout 1h;
		}
	}
}
`

// Run is called by kong.
func (v *frontVerb) Run(e *env) error {
	program, err := nginx()
	if err != nil {
		return err
	}
	addr, port, err := freeAddr()
	if err != nil {
		return err
	}
	dir := filepath.Join(v.Dir, "front-"+strconv.Itoa(port))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	filled := strings.NewReplacer("{dir}", dir, "{listen}", v.Listen, "{cert}", certificateFile(v.Dir), "{key}", keyFile(v.Dir), "{server}", addr).Replace(nginxConfig)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(filled), 0o600); err != nil {
		return err
	}
	behind := exec.CommandContext(e.ctx, v.Server, "start", "--listen", addr, "--admin", "off", "--run-dir", dir)
	before := exec.CommandContext(e.ctx, program, "-c", config, "-p", dir)
	for _, c := range []*exec.Cmd{behind, before} {
		c.Stdout, c.Stderr = e.stderr, e.stderr
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // nginx then ends its workers
		c.WaitDelay = childStopTime
		if err := c.Start(); err != nil {
			return fmt.Errorf("cannot start %s: %w", c.Path, err)
		}
	}
	fmt.Fprintln(e.stdout, listeningWord, v.Listen) // whether it does is seen by a connect
	_ = before.Wait()
	_ = behind.Wait()
	return nil
}

func certificateFile(dir string) string { return filepath.Join(dir, "certificate.pem") }
func keyFile(dir string) string         { return filepath.Join(dir, "key.pem") }

// writeCertificate writes one for loopback into a directory.
func writeCertificate(dir string) error {
	made, err := ceiling.SelfSigned()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		return fmt.Errorf("a key: %w", err)
	}
	if err := os.WriteFile(certificateFile(dir), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}), 0o644); err != nil {
		return fmt.Errorf("a certificate: %w", err)
	}
	if err := os.WriteFile(keyFile(dir), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		return fmt.Errorf("a key: %w", err)
	}
	return nil
}
