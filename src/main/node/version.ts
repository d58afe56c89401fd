import packageFile from '../../../package.json' with { type: 'json' };

/** What is wrong with this version of Node.js (`20.20.2`), in one line; `undefined` where it is new enough. */
export function nodeProblem(version: string, execPath: string): string | undefined {
  const oldest = packageFile.engines.node.replace('>=', '');
  if (!isOlder(version, oldest)) return undefined;
  return `furiwake needs Node.js ${oldest} or newer (this is ${version} at ${execPath}).`;
}

/** Compares major and minor version. */
function isOlder(version: string, oldest: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldest.split('.').map(Number);
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
}

/* Imported before everything else: other modules fail while they are loaded if Node.js is too old for them. */
const problem = nodeProblem(process.versions.node, process.execPath);
if (problem !== undefined) {
  process.stderr.write(`error: ${problem}\n`);
  process.exit(1);
}
