-- Returns the fields of a subject's families and their values, as HGETALL does:
-- all of few families, of many those of the newest.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 now  2 how many of the newest
--
-- It only reads.
local key, row = KEYS[1], KEYS[2]
if not are_many(row) then return call('HGETALL', key) end
local newest, out = some(key, row, tonumber(ARGV[1]), tonumber(ARGV[2]), true, false), {}
for _, f in ipairs(newest) do
  local names = { f.id, f.id .. 'c', f.id .. 'd', f.id .. 'a' }
  local values = call('HMGET', key, unpack(names))
  for i = 1, 4 do
    out[#out + 1] = names[i]
    out[#out + 1] = values[i] or ''
  end
end
return out
