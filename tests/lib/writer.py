"""An application that writes to the store's table w(id), row after row, while something else happens."""

import threading
import time

import psycopg2


class Writer(threading.Thread):
    """One row after the other over connections that connect() makes; it remembers the longest time without an acknowledgement."""

    def __init__(self, connect):
        super().__init__(daemon=True)
        self.connect, self.ended = connect, threading.Event()
        self.acked, self.errors, self.gap_s = [], [], 0.0

    def run(self):
        connection, key, last = None, 0, time.monotonic()
        while not self.ended.is_set():
            try:
                connection = connection or self.connect()
                connection.autocommit = True
                key += 1
                connection.cursor().execute("INSERT INTO w VALUES (%s)", (key,))
                self.acked.append(key)
                now = time.monotonic()
                self.gap_s, last = max(self.gap_s, now - last), now
            except psycopg2.Error as error:
                self.errors.append(str(error))
                connection = None
                self.ended.wait(0.05)
            self.ended.wait(0.005)

    def end(self):
        self.ended.set()
        self.join(30)
