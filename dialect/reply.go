package dialect

import (
	"math/bits"
	"strconv"

	"ringcast/wsproto"
)

// A command without an id is never answered, so every reply has an id: the JSON text that the client sent, byte for byte. Each
// function appends one whole text frame to dst. The id is one that Parse has returned, of at most IDBytesMax bytes; nil stands
// for null.

const (
	replyID      = `{"id":`
	replyOK      = `,"ok":true}`
	replySeq     = `,"ok":true,"seq":`
	replyAgain   = `,"repeated":true}`
	replyCode    = `,"error":{"code":"`
	replyMessage = `","message":"`
	replyEnd     = `"}}`
	eventGap     = `{"event":"gap","messages":`
	eventRemoved = `{"event":"removed","group_id":`
	removedWhy   = `,"reason":"`
	removedEnd   = `"}`
)

// AppendOK appends {"id":7,"ok":true}.
func AppendOK(dst []byte, id []byte) []byte {
	id = orNull(id)
	dst = wsproto.AppendTextHeader(dst, len(replyID)+len(id)+len(replyOK))
	dst = append(dst, replyID...)
	dst = append(dst, id...)
	return append(dst, replyOK...)
}

// AppendSeq appends {"id":7,"ok":true,"seq":12}, where seq is the message's number in its group.
func AppendSeq(dst []byte, id []byte, seq uint64) []byte { return appendSeq(dst, id, seq, "}") }

// AppendRepeated appends {"id":7,"ok":true,"seq":12,"repeated":true}: the message was said before under the same key, as number seq.
func AppendRepeated(dst []byte, id []byte, seq uint64) []byte {
	return appendSeq(dst, id, seq, replyAgain)
}

func appendSeq(dst []byte, id []byte, seq uint64, end string) []byte {
	id = orNull(id)
	dst = wsproto.AppendTextHeader(dst, len(replyID)+len(id)+len(replySeq)+decimalBytes(seq)+len(end))
	dst = append(dst, replyID...)
	dst = append(dst, id...)
	dst = append(dst, replySeq...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, end...)
}

// AppendError appends {"id":7,"error":{"code":"bad_group_id","message":"group_id must be …"}}.
func AppendError(dst []byte, id []byte, code ErrorCode) []byte {
	id = orNull(id)
	sentence := code.Sentence()
	if code == ErrTokenExpired || code == ErrOtherToken {
		code = ErrBadToken
	}
	dst = wsproto.AppendTextHeader(dst, len(replyID)+len(id)+len(replyCode)+len(code)+len(replyMessage)+len(sentence)+len(replyEnd))
	dst = append(dst, replyID...)
	dst = append(dst, id...)
	dst = append(dst, replyCode...)
	dst = append(dst, code...)
	dst = append(dst, replyMessage...)
	dst = append(dst, sentence...)
	return append(dst, replyEnd...)
}

// AppendGap appends {"event":"gap","messages":12}, which is not a reply: it takes the place of so many messages for which the
// client was too slow.
func AppendGap(dst []byte, messages uint64) []byte {
	dst = wsproto.AppendTextHeader(dst, len(eventGap)+decimalBytes(messages)+1)
	dst = append(dst, eventGap...)
	dst = strconv.AppendUint(dst, messages, 10)
	return append(dst, '}')
}

// Why a client was taken out of a group, see AppendRemoved.
const (
	removedByServer = "server"
	removedByEnd    = "token_expired"
)

// AppendRemoved appends {"event":"removed","group_id":"g","reason":"server"}, which is not a reply: the client was taken out of the group.
func AppendRemoved(dst []byte, group, reason string) []byte {
	name := []byte(group)
	dst = wsproto.AppendTextHeader(dst, len(eventRemoved)+quotedBytes(name)+len(removedWhy)+len(reason)+len(removedEnd))
	dst = append(dst, eventRemoved...)
	dst = appendQuoted(dst, name)
	dst = append(dst, removedWhy...)
	dst = append(dst, reason...)
	return append(dst, removedEnd...)
}

func orNull(id []byte) []byte {
	if id == nil {
		return jsonNull
	}
	return id
}

// decimalBytes is the number of decimal digits of v, known before they are written
// because the frame's length stands in front of them.
func decimalBytes(v uint64) int {
	// log10(2) is about 1233/4096, so n is the number of digits or one less.
	n := (bits.Len64(v|1) * 1233) >> 12
	if v >= powersOfTen[n] {
		n++
	}
	return max(n, 1)
}

var powersOfTen = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()
