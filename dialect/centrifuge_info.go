package dialect

// This file has what is told of a client and its user, in what it says, when it comes or goes, and in the list of who is there:
// {"user":"ann","client":"…","conn_info":{…},"chan_info":{…}}. An empty user is written out, as the server library does: pages see ""
// and not undefined. What a token says of the user is left out where it says nothing.

const (
	infoUser    = `{"user":`
	infoClient  = `,"client":"`
	infoConn    = `,"conn_info":`
	infoGroup   = `,"chan_info":`
	infoEnd     = `}`
	infoNobody  = `""`
	infoFixed   = len(infoUser) + len(infoClient) + len(`"`) + len(infoEnd)
	infoUnnamed = infoFixed + len(infoNobody)
)

// senderBytes is the length of what appendSender appends.
func (c *centrifuge) senderBytes(m *Message) int {
	if m.More != nil && m.More.Client != "" {
		c.named = append(c.named[:0], m.More.Client...)
		return quotedBytes(c.named) - len(`""`)
	}
	if _, named := m.Sender(); named {
		return clientNameBytes
	}
	return 0
}

// appendSender appends the name of the client that has said a message, or that comes or goes, as it stands between JSON quotes; nothing
// if none is to be named. A client of another node has the name that this one has given it.
func (c *centrifuge) appendSender(dst []byte, m *Message) []byte {
	if m.More != nil && m.More.Client != "" {
		at := len(dst)
		dst = appendQuoted(dst, []byte(m.More.Client))
		copy(dst[at:], dst[at+1:])
		return dst[:len(dst)-len(`""`)]
	}
	if client, named := m.Sender(); named {
		dst = c.clientName(dst, client)
	}
	return dst
}

// infoBytes is the length of what appendInfo appends, without the client's name.
func (c *centrifuge) infoBytes(who *Who) int {
	if who == nil {
		return infoUnnamed
	}
	c.user = append(c.user[:0], who.User()...)
	n := infoFixed + quotedBytes(c.user)
	if who.Info() != nil {
		n += len(infoConn) + len(who.Info())
	}
	if who.GroupInfo() != nil {
		n += len(infoGroup) + len(who.GroupInfo())
	}
	return n
}

// appendInfo appends what is told of a client. name is the client's, empty for a user whose words the server has passed on; it may
// lie in dst.
func (c *centrifuge) appendInfo(dst, name []byte, who *Who) []byte {
	dst = append(dst, infoUser...)
	if who != nil {
		c.user = append(c.user[:0], who.User()...)
		dst = appendQuoted(dst, c.user)
	} else {
		dst = append(dst, infoNobody...)
	}
	dst = append(dst, infoClient...)
	dst = append(dst, name...)
	dst = append(dst, '"')
	if who != nil && who.Info() != nil {
		dst = append(dst, infoConn...)
		dst = append(dst, who.Info()...)
	}
	if who != nil && who.GroupInfo() != nil {
		dst = append(dst, infoGroup...)
		dst = append(dst, who.GroupInfo()...)
	}
	return append(dst, infoEnd...)
}
