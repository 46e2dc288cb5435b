"""Seals and opens ESP packets with scapy. Each line of standard input is a task:

    seal|open CIPHER KEY INTEGRITY KEY esn|no-esn SPI PACKET

in scapy's names and hexadecimal, with "-" for no key. The answer to it is a line: the
ESP packet with sequence number 1, or the inner packet.
"""
import sys

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation


def main():
    for line in sys.stdin:
        work, cipher, key, integrity, integrity_key, esn, spi, packet = line.split()
        outer = IP(src="192.0.2.1", dst="192.0.2.2")
        sa = SecurityAssociation(
            ESP, spi=int(spi, 16), tunnel_header=outer, esn_en=esn == "esn",
            crypt_algo=cipher, crypt_key=unhex(key), auth_algo=integrity, auth_key=unhex(integrity_key))
        print(WORK[work](sa, outer, bytes.fromhex(packet)).hex(), flush=True)


def unhex(key):
    return bytes.fromhex(key.replace("-", ""))


def seal(sa, _, packet):
    inner = IPv6 if packet[0] >> 4 == 6 else IP
    return bytes(sa.encrypt(inner(packet))[ESP])


def open_packet(sa, outer, packet):
    return bytes(sa.decrypt(IP(bytes(outer / ESP(packet)))))


WORK = {"seal": seal, "open": open_packet}

main()
