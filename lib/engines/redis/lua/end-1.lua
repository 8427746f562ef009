-- Puts an ended mark in place of whatever is there. DEL comes first: it isn't refused at maxmemory, and a script that has written
-- once isn't refused what follows.
-- KEYS[1]  the record's key
-- ARGV     how long the mark stays, in ms
-- Returns  {what was there, now}
local state, version, copies = look(KEYS[1])
redis.call('DEL', KEYS[1])
store('E', KEYS[1], version, now + tonumber(ARGV[1]), copies, '')
return { state, now }
