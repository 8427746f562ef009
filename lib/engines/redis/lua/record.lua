-- Stands in front of every verb on records: the engine's clock and the layout of a value, which value.ts reads too.
--   byte 1       kind: "R" a record, "E" an ended mark; a later layout takes other letters
--   bytes 2-7    version              bytes 8-13   idleAt (of a mark: when it goes)
--   bytes 14-21  copies               bytes 22-29  told              bytes 30-35  toldUntil
--   bytes 36-    body
-- The invariant: the key's TTL is the value's idleAt. Redis expires a key once its time is past, the contract once it has come:
-- hence PXAT idleAt - 1.
local NO_COPIES = string.rep('\0', 22)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What is there: 'missing', 'record', 'ended' or 'foreign' (none of our layout); its version (0: none), its bytes of copies, its idleAt.
local function look(key)
  local header = redis.call('GETRANGE', key, 0, 34)
  if header == '' then return 'missing', 0, NO_COPIES end
  local kind = string.sub(header, 1, 1)
  if #header < 35 or (kind ~= 'R' and kind ~= 'E') then return 'foreign', 0, NO_COPIES end
  local version, idle_at = struct.unpack('>I6I6', header, 2)
  local copies = string.sub(header, 14)
  if idle_at <= now then return 'missing', version, copies end
  return kind == 'R' and 'record' or 'ended', version, copies, idle_at
end

local function idle_deadline(idle_ms, absolute_at)
  local idle_at = now + tonumber(idle_ms)
  absolute_at = tonumber(absolute_at)
  if absolute_at > 0 and absolute_at < idle_at then return absolute_at end
  return idle_at
end

-- Writes a value whose version follows `current`; returns that version.
local function store(kind, key, current, idle_at, copies, body)
  local version = math.max(current + 1, now)
  local value = kind .. struct.pack('>I6I6', version, idle_at) .. copies .. body
  redis.call('SET', key, value, 'PXAT', math.max(idle_at - 1, 1))
  return version
end
