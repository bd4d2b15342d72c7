package ceiling

import "bytes"

// centrifugePath in a request makes its client one of the Centrifuge protocol. The members of a group all speak the same.
const centrifugePath = "GET /connection/websocket"

// centrifuge does what a well-formed line of the bench asks for, as command does: it searches for fields and is no JSON parser.
// There is one line in each frame.
func (s *server) centrifuge(c *client, line []byte) {
	id, name := field(line, `"id":`, ','), field(line, `"channel":"`, '"')
	method := field(line, `,"`, '"')
	switch string(method) {
	case "publish":
		if g := s.groups[string(name)]; g != nil && len(g.fds) > 0 {
			s.push = append(append(append(s.push[:0], `{"push":{"channel":"`...), name...), `","pub":{"data":"`...)
			s.push = append(append(s.push, field(line, `"data":"`, '"')...), `"}}}`...)
			s.publish(g, s.push)
		}
	case "subscribe":
		s.join(c, name)
	case "unsubscribe":
		s.leaveGroup(c, name)
	}
	if id == nil {
		return // a pong
	}
	s.reply = append(append(append(s.reply[:0], `{"id":`...), id...), `,"`...)
	s.reply = append(append(s.reply, method...), `":{}}`...)
	s.write(c, appendText(nil, s.reply))
}

func isCentrifuge(request []byte) bool { return bytes.HasPrefix(request, []byte(centrifugePath)) }
