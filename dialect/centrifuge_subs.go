package dialect

import "bytes"

// This file has the groups that a client is a member of without having asked, as its token names them: how it says where it was in them
// when it connects, and how the reply to that has them.

// resumes completes a connect by the positions in its subs: {"chat":{"recover":true,"offset":7,"epoch":"…"}}. false: one of the values
// has not the type that the protocol gives it, or not the range.
func (c *centrifuge) resumes(cmd *Command, subs []byte) (ok bool) {
	switch {
	case isMissing(subs):
		return true
	case subs[0] != '{':
		return false
	}
	var names, values [][]byte
	for o := c.objectOf(subs, GroupBytesMax); o.next(); { // to the end, as a reader reads one object at a time
		names, values = append(names, o.key), append(values, o.value)
	}
	for i, name := range names {
		delete(cmd.Resume, string(name)) // the last of equal names counts
		if isNull(values[i]) {
			continue
		}
		if values[i][0] != '{' {
			return false
		}
		r := c.requested(values[i])
		since, is := c.position(&r)
		wanted, isBool := boolean(r.recover)
		switch {
		case !is || !isBool:
			return false
		case !wanted || len(name) == 0 || len(name) > GroupBytesMax:
			continue
		case cmd.Resume == nil:
			cmd.Resume = map[string]Position{}
		}
		cmd.Resume[string(name)] = since
	}
	return true
}

// appendServed appends the member "subs":{"chat":{…}}, of the reply to a connect, or nothing. Each is what the reply to a subscribe is.
func (c *centrifuge) appendServed(text []byte, served []Served) []byte {
	if len(served) == 0 {
		return text
	}
	text = append(text, `"subs":{`...)
	for _, in := range served {
		c.group = append(c.group[:0], in.Group...)
		text = appendQuoted(text, c.group)
		text = append(text, `:{`...)
		if in.Past != nil {
			if text = c.appendSubscribed(text, in.Past); text[len(text)-1] != '{' {
				text = append(text, ',')
			}
		}
		if in.Data != nil {
			text = append(text, `"data":`...)
			text = append(text, in.Data...)
		}
		text = append(bytes.TrimSuffix(text, comma), `},`...)
	}
	return append(bytes.TrimSuffix(text, comma), `},`...)
}
