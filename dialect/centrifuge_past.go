package dialect

import (
	"bytes"
	"iter"
	"math"
	"strconv"
)

// This file has positions and what was said behind them: how a client asks for its group's past, and how it is answered.

// offsetMax is the largest offset that a client may name: beyond it the numbers of JavaScript have gaps.
const offsetMax = 1 << 53

// flagOrNone is the bit of a subscribe's flag by which a page wants all that it has missed or an error, since it then fetches its state
// in another way. The bit of 1 allows a shorter form of the channel's name, which is not made use of.
const flagOrNone = 2

// past completes a command by what it asks of its group's past. false: one of the values has not the type that the protocol gives
// it, or not the range; a client that says such a thing is closed as by the server library.
func (c *centrifuge) past(cmd *Command, r *requested) (ok bool) {
	switch cmd.Verb {
	case AddGroup:
		since, is := c.position(r)
		flags, isInteger := integer(r.flag, -offsetMax, offsetMax)
		cmd.Recover, ok = boolean(r.recover)
		if cmd.Recover { // else it is not asked for anything
			cmd.Since, cmd.OrNone = since, flags&flagOrNone != 0
		}
		return ok && is && isInteger
	case History:
		limit, isLimit := integer(r.limit, math.MinInt32, math.MaxInt32)
		reverse, isBool := boolean(r.reverse)
		cmd.Limit, cmd.Reverse = int(limit), reverse
		if !isMissing(r.since) {
			if r.since[0] != '{' {
				return false
			}
			since := c.requested(r.since)
			cmd.HasSince = true
			if cmd.Since, ok = c.position(&since); !ok {
				return false
			}
		}
		return isLimit && isBool
	}
	return true
}

// position is the one that an offset and an epoch stand for; a missing one is 0.
func (c *centrifuge) position(r *requested) (p Position, ok bool) {
	offset, isOffset := integer(r.offset, 0, offsetMax)
	epoch, isEpoch := c.epoch(r.epoch)
	return Position{Offset: uint64(offset), Epoch: epoch}, isOffset && isEpoch
}

const (
	epochBase      = 36
	epochTextBytes = len("3w5e11264sgsf") // of the largest
)

// epoch is the number that its text stands for: one of base 36, as appendEpoch writes it. Any other text is one that this server has
// not written, and so is that of 0, which is not the epoch of any group; but an empty text is as good as none.
func (c *centrifuge) epoch(value []byte) (epoch uint64, ok bool) {
	switch {
	case isMissing(value):
		return 0, true
	case !isString(value):
		return 0, false
	case len(value) > 6*epochTextBytes+2: // as a name's, see objectReader.name
		return EpochUnknown, true
	}
	return epochOf(c.text(value)), true
}

// epochOf is epoch for the text itself.
func epochOf(text []byte) (epoch uint64) {
	if len(text) == 0 {
		return 0
	}
	for _, digit := range text {
		if digit -= '0'; digit > 9 {
			digit -= 'a' - '0' - 10
		}
		epoch = epoch*epochBase + uint64(digit)
	}
	// What is no digit, no canonical number or too large has made a number of another text.
	var again [epochTextBytes]byte
	if epoch == 0 || string(appendEpoch(again[:0], epoch)) != string(text) {
		return EpochUnknown
	}
	return epoch
}

func appendEpoch(dst []byte, epoch uint64) []byte { return strconv.AppendUint(dst, epoch, epochBase) }

// boolean is the value of a member; ok: it is one, or is missing and so false.
func boolean(value []byte) (is, ok bool) {
	is = string(value) == "true"
	return is, is || isMissing(value) || string(value) == "false"
}

// integer is the value of a member; ok: it is an integer literal from least to most, or is missing and so 0.
func integer(value []byte, least, most int64) (n int64, ok bool) {
	if isMissing(value) {
		return 0, true
	}
	if !isInteger(value) || len(value) > integerBytesMax { // a text of any length must cost nothing
		return 0, false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && least <= n && n <= most
}

// integerBytesMax is the length of the longest integer that any command has: offsetMax.
const integerBytesMax = len("9007199254740992")

// isMissing: a member that is null is as good as none.
func isMissing(value []byte) bool { return value == nil || isNull(value) }

// comma stands behind each member of an object until no more follow. Read only.
var comma = []byte(",")

// appendSubscribed appends the members of {"recoverable":true,"epoch":"…","publications":[…],"recovered":true,"offset":7,
// "positioned":true,"was_recovering":true}. What is false, 0 or empty is left out.
//
// With what was missed the offset is the one that was asked from: the client counts up by itself, publication by publication.
// Without, there are no publications, since it would take whatever is there for what was just said.
func (c *centrifuge) appendSubscribed(text []byte, p *Past) []byte {
	at := p.Top
	if p.Top.Epoch != 0 {
		text = append(text, `"recoverable":true,`...)
		text = appendEpochMember(text, p.Top)
	}
	if p.Recovered {
		at = Position{Offset: p.Since.Offset, Epoch: p.Top.Epoch}
		text = c.appendPublications(text, p.Messages)
		text = append(text, `"recovered":true,`...)
	}
	text = appendOffsetMember(text, at)
	if p.Top.Epoch != 0 {
		text = append(text, `"positioned":true,`...)
	}
	if p.WasRecovering {
		text = append(text, `"was_recovering":true,`...)
	}
	return bytes.TrimSuffix(text, comma)
}

// appendRead appends the members of {"publications":[…],"epoch":"…","offset":7}, which are left out in the same way.
func (c *centrifuge) appendRead(text []byte, p *Past) []byte {
	text = c.appendPublications(text, p.Messages)
	text = appendEpochMember(text, p.Top)
	text = appendOffsetMember(text, p.Top)
	return bytes.TrimSuffix(text, comma)
}

func appendEpochMember(text []byte, p Position) []byte {
	if p.Epoch == 0 {
		return text
	}
	text = append(text, `"epoch":"`...)
	return append(appendEpoch(text, p.Epoch), `",`...)
}

// appendOffsetMember leaves out the offset of a group without history, too: without an epoch it means nothing.
func appendOffsetMember(text []byte, p Position) []byte {
	if p.Epoch == 0 || p.Offset == 0 {
		return text
	}
	text = append(text, `"offset":`...)
	return append(strconv.AppendUint(text, p.Offset, 10), ',')
}

func (c *centrifuge) appendPublications(dst []byte, messages iter.Seq[*Message]) []byte {
	if messages == nil {
		return dst
	}
	text := append(dst, `"publications":[`...) // another variable, as the loop's body moves it to the heap
	first := len(text)
	for m := range messages {
		text = c.appendPublication(text, m)
		text = append(text, ',')
	}
	if len(text) == first {
		return dst
	}
	text[len(text)-1] = ']'
	return append(text, ',')
}
