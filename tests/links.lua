-- links.lua CHAPTER…: says where a link to another chapter leads nowhere, calls its end by another name than its heading
-- does, or could be one and is a reference in braces; and where a chapter's label is not the name of its file. Exits with
-- 1 then.
local headings, faults = {}, 0

local function fault(path, line, text)
  print(("    %s:%d: %s"):format(path, line, text))
  faults = faults + 1
end

-- prose: the lines of a chapter that are in no block of code, as number and text
local function prose(path)
  return coroutine.wrap(function()
    local number, fence = 0, nil
    for line in io.lines(path) do
      number = number + 1
      local mark = line:match("^ ? ? ?(```+)") or line:match("^ ? ? ?(~~~+)")
      if mark and not fence then
        fence = mark
      elseif mark and mark:sub(1, #fence) == fence then
        fence = nil
      elseif not fence then
        coroutine.yield(number, line)
      end
    end
  end)
end

-- address: what a heading is called where Markdown is shown: small letters, and hyphens for spaces
local function address(heading)
  return (heading:lower():gsub("[%c%p]", function(c) return (c == "-" or c == "_") and c or "" end):gsub("’", ""):gsub(" ", "-"))
end

for _, path in ipairs(arg) do
  local file, first = path:match("[^/]*$"), true
  for number, line in prose(path) do
    local title, label = line:match("^#+ (.-) {#sec:([%w-]+)}$")
    if title then
      if first and file ~= file:match("^%d%d%-") .. label .. ".md" then
        fault(path, number, "the chapter's label is sec:" .. label .. ", and not the name of its file")
      end
      headings[first and file or file .. "#" .. address(line:match("^#+ (.*)"))] = title:gsub(": .*", "")
      first = false
    end
  end
end
for _, path in ipairs(arg) do
  local text, at = {}, {} -- a link may go over two lines
  for number, line in prose(path) do
    at[#text + 1], text[#text + 1] = number, line
  end
  for i, line in ipairs(text) do
    if line:find("{{[sS]ec:%l") then fault(path, at[i], "expected a link to the chapter's file, not a reference in braces") end
    local both = (text[i - 1] or ""):match("%[[^%]]*$")
    both = (both and both .. " " or "") .. line
    for name, target in both:gmatch("%[([^%[%]]+)%]%((%d%d%-[^)]*)%)") do
      if not headings[target] then
        fault(path, at[i], target .. " leads nowhere")
      elseif name:gsub(" +", " ") ~= headings[target] then
        fault(path, at[i], ('"%s" leads to "%s"'):format(name, headings[target]))
      end
    end
  end
end
os.exit(faults == 0)
