package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/api"
	"ringcast/bus"
	"ringcast/cli/settings"
	"ringcast/webhook"
)

// ending is the end of a server:
//
//	asked      a signal. /readyz says 503. A node of a cluster hands over what it leads; then the loops accept nothing any more and settle
//	           what they have accepted
//	told       every client has been told. The server gives up all that a successor needs, then its part of the cluster with the store,
//	           and the lock on the run dir last; who waits for it, as restart does, goes on
//	draining   clients take their last bytes, for at most --stop-timeout, and so do Channel clients, for a second; webhooks tell who goes
//	ended      the process ends; who waits for that, as stop does, goes on
//
// A second signal, and loops that end without being asked to, lead to the last step at once.
//
// Owner: the goroutine that started the server; told is called by another one, after the fields were set.
type ending struct {
	handover

	srv          server
	hub          hub
	adm          *admin
	public       *api.Public
	certificates *certificates // nil: there is no TLS
	redirect     *redirect     // nil: off
	hooks        *webhook.Hooks
	channel      atomic.Pointer[bus.Bus]
	node         *node // nil: the server is in no cluster
	notify       *notifier
	log          *slog.Logger

	until time.Time // clients have time until then
}

// untilAsked waits for the server's end, and stops the server when asked. Errors here are logged, because the log is where an
// operator looks for the reason why a server has ended.
func (e *ending) untilAsked(asked <-chan os.Signal, stopTimeout func() time.Duration) error {
	select {
	case <-e.srv.Done():
		err := e.srv.Err()
		if err == nil {
			err = errors.New("the event loops have ended")
		}
		e.log.Error("the server ended unexpectedly", "err", err)
		return toldError{err}
	case sig := <-asked:
		return e.stop(sig, stopTimeout(), asked)
	}
}

// stop ends the server in good order, unless another signal asks for an end at once.
func (e *ending) stop(sig os.Signal, timeout time.Duration, asked <-chan os.Signal) error {
	first := time.Now()
	e.until = first.Add(timeout)
	e.notify.stopping("stopping; clients have up to "+settings.DurationText(timeout)+" to take their last bytes", timeout+e.node.longer()+stopMargin)
	e.adm.unready("the server is stopping") // before it refuses any client
	e.log.Info("stopping", "signal", sig.String(), "clients", e.hub.Snapshot().Total().Clients, "timeout", timeout.String())

	e.public.Drain() // idle HTTP connections would hold up the end, and answers that are under way are their last

	ctx, cancel := context.WithDeadline(context.Background(), e.until)
	defer cancel()
	channelClosed, stopped := make(chan struct{}), make(chan error, 1)
	hooksClosed, gone := make(chan struct{}), make(chan struct{})
	told := sync.OnceFunc(func() {
		e.giveUp()
		e.log.Info("every client has been told; addresses and run dir are given up", "after", time.Since(first).String())
		go func() {
			defer close(channelClosed)
			closeChannel(e.channel.Load(), channelPatience, e.log)
		}()
		go func() {
			defer close(hooksClosed)
			endWebhooks(e.hooks, gone)
		}()
	})
	go func() {
		e.node.drain() // clients may publish until it is over
		stopped <- e.srv.Stop(ctx, told)
	}()
	for {
		select {
		case err := <-stopped:
			if ignoreTimeout(err) != nil {
				e.log.Error("the server did not stop cleanly", "err", err)
				return toldError{err}
			}
			told() // it was, unless the loops have ended in the midst of it
			close(gone)
			<-channelClosed
			<-hooksClosed
			if err != nil {
				e.log.Warn("stopped; some clients had not received everything that was queued for them", "timeout", timeout.String())
			} else {
				e.log.Info("stopped")
			}
			return nil
		case sig := <-asked:
			if time.Since(first) < echoTime {
				continue
			}
			e.log.Warn("second stop signal; ending at once, queued messages may be lost", "signal", sig.String())
			e.node.endNow()
			return toldError{errors.New("second stop signal")}
		}
	}
}

// now ends a server whose start has failed.
func (e *ending) now() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ignoreTimeout(e.srv.Stop(ctx, func() {}))
}

// echoTime: some supervisors signal a process and then its group, so that one request arrives twice. A person who asks again
// does so later.
const echoTime = 300 * time.Millisecond

// ignoreTimeout: a stop after the time given to slow clients has run out is not a failure.
func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
