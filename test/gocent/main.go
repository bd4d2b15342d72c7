// Gocent is a backend in Go that uses gocent, Centrifugo's library for that, unmodified. A line of its input is one call of the library,
// and is answered by one line of JSON: what the library has returned. Its rule: it judges nothing, the test does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/centrifugal/gocent/v3"
)

// call is a line of the input: the name of one of the library's methods, and its arguments.
type call struct {
	Call     string          `json:"call"`
	Channel  string          `json:"channel"`
	Channels []string        `json:"channels"`
	Data     json.RawMessage `json:"data"`
	User     string          `json:"user"`
	Client   string          `json:"client"`
	Limit    int             `json:"limit"`
	Offset   uint64          `json:"offset"`
	Epoch    string          `json:"epoch"`
	Reverse  bool            `json:"reverse"`
	Skip     bool            `json:"skip"`
	Pattern  string          `json:"pattern"`
	Code     uint32          `json:"code"`
	Times    int             `json:"times"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gocent URL KEY")
		os.Exit(2)
	}
	c := gocent.New(gocent.Config{Key: os.Args[2], GetAddr: func() (string, error) { return os.Args[1], nil }})
	c.SetHTTPClient(&http.Client{Timeout: 30 * time.Second})
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var one call
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		result, err := one.make(c)
		answer := map[string]any{"result": result}
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if out.Encode(answer) != nil {
			return
		}
	}
}

func (a *call) since() (options []gocent.HistoryOption) {
	options = []gocent.HistoryOption{gocent.WithLimit(a.Limit), gocent.WithReverse(a.Reverse)}
	if a.Offset > 0 || a.Epoch != "" {
		options = append(options, gocent.WithSince(&gocent.StreamPosition{Offset: a.Offset, Epoch: a.Epoch}))
	}
	return options
}

func (a *call) closing() (options []gocent.DisconnectOption) {
	if a.Code > 0 {
		options = append(options, gocent.WithDisconnect(&gocent.Disconnect{Code: a.Code, Reason: "because"}))
	}
	return append(options, gocent.WithDisconnectClient(a.Client))
}

// make makes the call.
func (a *call) make(c *gocent.Client) (any, error) {
	ctx := context.Background()
	switch a.Call {
	case "Publish":
		return c.Publish(ctx, a.Channel, a.Data, gocent.WithSkipHistory(a.Skip))
	case "Broadcast":
		return c.Broadcast(ctx, a.Channels, a.Data)
	case "Subscribe":
		return nil, c.Subscribe(ctx, a.Channel, a.User, gocent.WithSubscribeClient(a.Client), gocent.WithSubscribeInfo(a.Data),
			gocent.WithPresence(true), gocent.WithJoinLeave(true), gocent.WithPosition(true), gocent.WithRecover(true))
	case "Unsubscribe":
		return nil, c.Unsubscribe(ctx, a.Channel, a.User, gocent.WithUnsubscribeClient(a.Client))
	case "Disconnect":
		return nil, c.Disconnect(ctx, a.User, a.closing()...)
	case "Presence":
		return c.Presence(ctx, a.Channel)
	case "PresenceStats":
		return c.PresenceStats(ctx, a.Channel)
	case "History":
		return c.History(ctx, a.Channel, a.since()...)
	case "HistoryRemove":
		return nil, c.HistoryRemove(ctx, a.Channel)
	case "Channels":
		return c.Channels(ctx, gocent.WithPattern(a.Pattern))
	case "Info":
		return c.Info(ctx)
	case "SendPipe":
		pipe := c.Pipe()
		for range a.Times {
			_ = pipe.AddPublish(a.Channel, a.Data)
		}
		_ = pipe.AddBroadcast(a.Channels, a.Data)
		_ = pipe.AddSubscribe(a.Channel, a.User)
		_ = pipe.AddUnsubscribe(a.Channel, a.User)
		_ = pipe.AddPresence(a.Channel)
		_ = pipe.AddPresenceStats(a.Channel)
		_ = pipe.AddHistory(a.Channel, a.since()...)
		_ = pipe.AddHistoryRemove(a.Channel)
		_ = pipe.AddChannels()
		_ = pipe.AddInfo()
		_ = pipe.AddDisconnect(a.User, a.closing()...)
		return c.SendPipe(ctx, pipe)
	}
	return nil, fmt.Errorf("the library has no call %q", a.Call)
}
