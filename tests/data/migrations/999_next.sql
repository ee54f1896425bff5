-- What the next release might add: mha-stored-next alone knows it.
CREATE TABLE next_release (id INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
