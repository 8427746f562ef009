-- Tells up to when whatever began is over, and raises that to now if it is told to.
-- KEYS     see registry.lua
-- ARGV     1 to raise it
-- Returns  the instant; 0 when nobody ever raised it
if ARGV[1] == '1' then
  write_first()
  redis.call('HSET', meta, 'endedBefore', math.max(fact('endedBefore'), now))
end
return fact('endedBefore')
