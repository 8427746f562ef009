-- Renews a node's lease, keeps what it says about itself, and reaps. Its cost doesn't depend on the number of sessions.
-- Publishes the beat's echo to the node's own channel: what the node hears of it proves that it hears all its drops (cache/lease.ts).
-- KEYS     see registry.lua, and the ledger (copies.lua)
-- ARGV     nodeId, epoch, about, lease in ms, serial of the beat (0: no echo), for how long it may trust copies in ms, margin included (0: not)
-- Returns  {now, revision, 1 or 0 for grace, 1 if the echo was refused, the server's run id or '', endedBefore}; {now} when fenced
local node_id, lease_ms = ARGV[1], tonumber(ARGV[4])
write_first()
local number, epoch, left, about = row_of(node_id)
if not number or left == '1' or epoch ~= tonumber(ARGV[2]) then return { now } end
redis.call('ZADD', leases, now + lease_ms, node_id)
if about ~= ARGV[3] then
  write_row(node_id, number, epoch, '0', ARGV[3], lease_ms)
  revise()
end
local grace = reap(lease_ms)
local refused = 0
-- A ledger that was lost learns again whose number this is, also of one that trusts no copies (copies.lua).
redis.call('HSET', KEYS[4], 'e' .. number, ARGV[2])
redis.call('HSETNX', KEYS[4], 'u' .. number, 0)
if ARGV[5] ~= '0' then
  local ledger = KEYS[4]
  if ARGV[6] ~= '0' then redis.call('HSET', ledger, 'u' .. number, now + tonumber(ARGV[6])) end
  local count = redis.call('HGET', ledger, 'd' .. number)
  if not count then
    count = string.format('%.0f', time[1] * 1000000 + time[2])
    redis.call('HSET', ledger, 'd' .. number, count)
  end
  local message = string.format('echo %s %s %s %.0f', ARGV[5], ARGV[2], count, now)
  local told = redis.pcall('PUBLISH', string.sub(ledger, 1, -18) .. 'channel:node-' .. number, message)
  if type(told) == 'table' and told.err then refused = 1 end
end
local info = redis.pcall('INFO', 'server')
local run_id = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return { now, fact('revision'), grace and 1 or 0, refused, run_id, fact('endedBefore') }
