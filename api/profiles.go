package api

import (
	"net"
	"net/http"
	"net/http/pprof"
	"os"
)

// profiles serves net/http/pprof, which shows what the program does and parts of its memory, and a request can also slow the
// server down. So it is for this machine only, unless the operator has set otherwise. And it is not for web pages: a page can
// make the operator's browser send a request, and with a host name that resolves to 127.0.0.1 (DNS rebinding) also read the
// answer.
func profiles(addr net.Addr, everywhere bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case !everywhere && !loopback(addr):
			plain(w, http.StatusForbidden, "profiles are served on a loopback address only; start with --admin-pprof to have them here\n")
		case !everywhere && !isAddress(r.Host):
			plain(w, http.StatusForbidden, "profiles are only served under an IP address or localhost, such as 127.0.0.1:1235; "+
				"start with --admin-pprof to have them under other names\n")
		case site != "" && site != "same-origin" && site != "none":
			plain(w, http.StatusForbidden, "profiles are not for pages of other sites\n")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// cmdline has the name of the program alone, in place of pprof.Cmdline: among the arguments may be secrets and keys.
func cmdline(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, os.Args[0]) }

// loopback says whether an address can only be reached from this machine.
func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
