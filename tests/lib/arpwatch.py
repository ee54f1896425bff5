"""Who answers for an address on this network? Asks by ARP every 20 ms and records each machine that answers each question.

Every question carries a hardware address of its own as the sender, so that an answer tells which question it answers, and so that the
asking host's kernel sees neither (an answer to its own address would refresh its neighbour table and hide a missing announcement).
The sender's protocol address is 0.0.0.0, as in RFC 5227's probes: nobody's table learns anything from it.
"""

import socket
import struct
import time

INTERVAL_S = 0.020
SENDER_PREFIX = bytes.fromhex("027777777700")[:4]  # + two bytes: the question's number
ETH_P_ARP = 0x0806
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")


class ArpWatch:
    """One AF_PACKET socket for a select loop: call ask() every INTERVAL_S, receive() when fileno() is readable."""

    def __init__(self, address, interface="eth0", emit=None):
        self.address = socket.inet_aton(address)
        self.emit = emit or (lambda record: None)
        self.number = 0
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ARP))
        self.sock.bind((interface, ETH_P_ARP))
        index = socket.if_nametoindex(interface)
        self.sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b""))

    def fileno(self):
        return self.sock.fileno()

    def ask(self):
        self.number = (self.number + 1) & 0xFFFF
        sender = SENDER_PREFIX + struct.pack("!H", self.number)
        frame = FRAME.pack(b"\xff" * 6, sender, ETH_P_ARP, 1, 0x0800, 6, 4, 1, sender, bytes(4), bytes(6), self.address)
        try:
            self.sock.send(frame)
        except OSError:
            pass  # the link is down for the moment: nobody answers, which is what the record then shows

    def receive(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(128)
            except BlockingIOError:
                return
            if len(data) < FRAME.size or peer[2] == socket.PACKET_OUTGOING:
                continue
            target, _, _, _, _, _, _, operation, mac, owner, _, _ = FRAME.unpack(data[: FRAME.size])
            if operation != 2 or owner != self.address or target[:4] != SENDER_PREFIX:
                continue
            question = struct.unpack("!H", target[4:])[0]
            self.emit({"what": "arp", "at": time.monotonic(), "question": question, "mac": mac.hex(":")})


class Owners:
    """What a series of answers says. Feed it records of ArpWatch in the order of their arrival."""

    def __init__(self, records):
        self.answers = [(r["at"], r["question"], r["mac"]) for r in records if r["what"] == "arp"]

    def doubles(self):
        """Questions that two machines answered: [(time, {mac, mac})]."""
        seen, out = {}, []
        for at, question, mac in self.answers:
            first_at, macs = seen.get(question, (at, set()))
            if at - first_at > 60:  # the number has come round again
                first_at, macs = at, set()
            macs.add(mac)
            seen[question] = (first_at, macs)
            if len(macs) == 2:
                out.append((at, frozenset(macs)))
        return out

    def changes(self):
        """The owner over time: [(time of the first answer, mac)], one entry per change."""
        out = []
        for at, _, mac in self.answers:
            if not out or out[-1][1] != mac:
                out.append((at, mac))
        return out
