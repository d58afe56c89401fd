import { nodeProblem } from './version.ts';

/* Imported before everything else: other modules fail while they are loaded if Node.js is too old for them. */
const problem = nodeProblem(process.versions.node, process.execPath);
if (problem !== undefined) {
  process.stderr.write(`error: ${problem}\n`);
  process.exit(1);
}
