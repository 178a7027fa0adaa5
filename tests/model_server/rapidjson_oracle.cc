// Reads documents, each behind its length in four bytes, and answers with RapidJSON's error, or with the value
// as its pretty writer prints it.
#include <cstdint>
#include <cstdio>
#include <string>

#include "rapidjson/document.h"
#include "rapidjson/encodedstream.h"
#include "rapidjson/error/en.h"
#include "rapidjson/memorystream.h"
#include "rapidjson/prettywriter.h"
#include "rapidjson/stringbuffer.h"

using namespace rapidjson;

static std::string answer(const std::string& text) {
  Document document;
  MemoryStream memory(text.data(), text.size());
  EncodedInputStream<UTF8<>, MemoryStream> stream(memory);
  if (document.ParseStream<kParseNanAndInfFlag | kParseStopWhenDoneFlag>(stream).HasParseError()) {
    return std::string("JSON Parse error: ") + GetParseError_En(document.GetParseError()) +
           " at offset: " + std::to_string(document.GetErrorOffset());
  }
  StringBuffer buffer;
  PrettyWriter<StringBuffer> writer(buffer);
  document.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

int main() {
  uint32_t size;
  while (fread(&size, sizeof size, 1, stdin) == 1) {
    std::string text(size, '\0');
    if (fread(&text[0], 1, size, stdin) != size) return 1;
    const std::string found = answer(text);
    size = found.size();
    fwrite(&size, sizeof size, 1, stdout);
    fwrite(found.data(), 1, size, stdout);
    fflush(stdout);
  }
}
