-- Writes two chapters, 1.md and 2.md, whose code says where it stands: at_1_23 is on line 23 of 1.md. The code is made at
-- random, always the same, of all that can make a compiler lose count: conditionals and their branches, macros over
-- several lines, comments, mentions inside each of them, and pieces that end anywhere.
math.randomseed(1)
local random = math.random
local FILES, CHUNKS, DEEPEST = 60, 12, 3

local chunks, macros = {}, {}
local function put(out, ...) for _, line in ipairs { ... } do out[#out + 1] = line end end

-- a mention of a later chunk, so that there are no cycles; of the last there is none
local function mention(list, name, after)
  if after >= CHUNKS then return nil end
  local i = random(after + 1, CHUNKS)
  list.used[i] = true
  return string.rep(" ", random(0, 4)) .. "<<" .. name .. " " .. i .. ">>"
end

local function macro(out, after)
  put(out, "#define MACRO_@(x) \\")
  for _ = 1, random(0, 2) do
    put(out, "    at_@ \\", random(2) == 1 and mention(macros, "Macro", after) or nil)
  end
  put(out, "    0")
end

local function block(out, after, depth)
  local function inside()
    for _ = 1, random(0, 3) do block(out, after, depth + 1) end
  end
  local kind = random(depth < DEEPEST and 9 or 5)
  if kind == 1 then put(out, mention(chunks, "Chunk", after))
  elseif kind == 2 then macro(out, after)
  elseif kind == 3 then put(out, "/* at", "", "   rest */")
  elseif kind == 4 then put(out, 'const char *at_@ = "one \\', 'two";')
  elseif kind == 5 then put(out, "#define SPACED_@ \\ ", mention(macros, "Macro", after) or "    1", "    0")
  else
    put(out, ({ "#if 0", "#if 1", "  # ifdef NO", "#ifndef NO", "#if \\", "#if 0 /*" })[random(6)])
    if out[#out]:match("\\$") then put(out, "    0") end
    if out[#out]:match("/%*$") then put(out, "*/") end
    inside()
    for _ = 1, random(0, 2) do
      put(out, ({ "#elif 0", "# elif 1", "#elif \\" })[random(3)])
      if out[#out]:match("\\$") then put(out, "    1") end
      inside()
    end
    if random(2) == 1 then
      put(out, "# else // or")
      inside()
    end
    put(out, ({ "#endif", "    #endif", "#  endif /* of", "#endif // of \\" })[random(4)])
    if not out[#out]:match("endif$") then put(out, "all */ // of it") end
  end
  put(out, "int at_@;")
end

local chapters = { {}, {} }
local function write(name, lines)
  local sign, done = "=", 0
  local k = name:match("^code/") and 1 or nil
  repeat
    k = k or sign == "=" and random(2) or 2
    local chapter, last = chapters[k], random(2) == 1 and #lines or random(done, #lines)
    put(chapter, "Prose.", "", "```c", "<<" .. name .. ">>" .. sign)
    for i = done + 1, last do
      put(chapter, (lines[i]:gsub("@", k .. "_" .. #chapter + 1)))
    end
    put(chapter, "```")
    sign, done, k = "+=", last, 2
  until done == #lines
end

-- mentions are made before what they mention, and only what is mentioned is written
chunks.used, macros.used = {}, {}
for i = 1, FILES do
  local lines = { "int at_@;" }
  for _ = 1, 6 do block(lines, 0, 0) end
  write("code/" .. i .. ".c", lines)
end
for i = 1, CHUNKS do
  local lines = {}
  block(lines, i, 1)
  if chunks.used[i] then write("Chunk " .. i, lines) end
  lines = { "at_@ \\" }
  put(lines, mention(macros, "Macro", i))
  put(lines, "at_@ \\")
  if macros.used[i] then write("Macro " .. i, lines) end
end
for k, chapter in ipairs(chapters) do
  local file = assert(io.open(k .. ".md", "w"))
  file:write(table.concat(chapter, "\n"), "\n")
  file:close()
end
