import { Command, CommanderError } from 'commander';
import { UsageError } from '../daemon/errors.ts';
import { assertKnownVariables, decodeFlags, describeOption, type Flags, toOptions } from './flags.ts';
import { decodeOptions, flagsOf, type LogOptions, type OptionsOf, type RunOptions } from './options.ts';
import type { ConnectionsRequest } from './connections.ts';
import type { StatusRequest } from './status.ts';
import { isServiceName } from './values.ts';

/** A decoded command line. */
export type Invocation =
  | { readonly command: 'run'; readonly options: RunOptions; readonly log: LogOptions }
  | { readonly command: 'check'; readonly options: RunOptions; readonly log: LogOptions; readonly isJson: boolean }
  | { readonly command: 'cleanup'; readonly options: RunOptions; readonly log: LogOptions; readonly isCluster: boolean }
  | ({ readonly command: 'status'; readonly isWatched: boolean } & StatusRequest)
  | ({ readonly command: 'connections' } & ConnectionsRequest)
  | { readonly command: 'drain' | 'undrain'; readonly stateDir: string; readonly target: string }
  | { readonly command: 'version' }
  | { readonly command: 'none'; readonly exitCode: number };

export type ProgramDeps = {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  /** Width of the help texts. */
  readonly columns: number;
};

type CommandName = keyof OptionsOf;

const descriptions: Readonly<Record<CommandName, { readonly text: string; readonly examples: readonly string[] }>> = {
  run: {
    text: 'Run the load balancer. Traffic keeps flowing after furiwake stops.',
    examples: [
      'furiwake run --kubeconfig /etc/furiwake/kubeconfig --addresses 192.0.2.200-192.0.2.220',
      'furiwake run --default-class no --namespaces shop,web',
    ],
  },
  check: {
    text: 'Check that this host and the cluster are ready (read-only).',
    examples: ['furiwake check --kubeconfig /etc/furiwake/kubeconfig --addresses 192.0.2.200-192.0.2.220'],
  },
  cleanup: {
    text: 'Remove everything furiwake configured on this host.',
    examples: ['furiwake cleanup', 'furiwake cleanup --cluster --kubeconfig /etc/furiwake/kubeconfig'],
  },
  status: {
    text: 'Show Services, nodes and connections.',
    examples: ['furiwake status', 'furiwake status shop/web --watch', 'furiwake status --output json'],
  },
  connections: {
    text: 'Show the last connections through HAProxy: who connected, where to, and how it ended.',
    examples: [
      'furiwake connections',
      'furiwake connections shop/web --last 500',
      'furiwake connections --output json',
    ],
  },
  drain: {
    text: 'Stop new connections to a node or a Service; existing ones continue.',
    examples: ['furiwake drain n1', 'furiwake drain shop/web'],
  },
  undrain: {
    text: 'Accept connections to a node or a Service again.',
    examples: ['furiwake undrain n1', 'furiwake undrain shop/web'],
  },
};

/**
 * Reads a command line; each flag is also an environment variable (`FURIWAKE_…`, shown in the help). Writes help, version
 * and commander's own errors, and answers `none` with the exit code (2 for wrong usage). `-V` is an alias of `-v`. Throws
 * `UsageError` for a value that is not valid, and for a variable `FURIWAKE_…` that is unknown.
 */
export function readCommandLine(args: readonly string[], deps: ProgramDeps): Invocation {
  let invocation: Invocation | undefined;
  const program = new Command('furiwake')
    .description('Load balancer for Kubernetes Services on bare metal.')
    .version(deps.version, '-v, --version', 'print the version')
    .helpCommand('help [command]', 'Show the help of a command.')
    .addHelpText(
      'after',
      [
        '\nEnvironment variables, FURIWAKE_…, set the same values as flags; the help of each command names them.',
        'Pages (in the source): docs/flags.md, docs/annotations.md, docs/troubleshooting.md, docs/reasons.md',
      ].join('\n'),
    );

  const command = <N extends CommandName>(
    name: N,
    act: (flags: OptionsOf[N], argument: string | undefined) => Invocation,
    argument?: readonly [syntax: string, help: string],
  ): void => {
    const { text, examples } = descriptions[name];
    const flags: Flags<OptionsOf[N]> = flagsOf[name];
    const made = program.command(name).description(text);
    if (argument !== undefined) made.argument(...argument);
    for (const option of toOptions(flags)) made.addOption(option);
    made.addHelpText('after', ['\nExamples:', ...examples].join('\n  '));
    made.action((first: unknown) => {
      assertKnownVariables(deps.env, Object.values(flagsOf));
      const decoded = decodeFlags(flags, made.opts(), (attribute) => made.getOptionValueSource(attribute));
      invocation = act(decoded, typeof first === 'string' ? first : undefined);
    });
  };

  command('run', (flags) => ({ command: 'run', options: flags, log: flags }));
  command('check', (flags) => ({ command: 'check', options: flags, log: flags, isJson: flags.output === 'json' }));
  command('cleanup', (flags) => {
    const options = { ...decodeOptions({}), ...flags };
    return { command: 'cleanup', options, log: flags, isCluster: flags.isCluster };
  });
  command(
    'status',
    ({ stateDir, output, isWatched }, service) => {
      return { command: 'status', stateDir, service: serviceName(service), isJson: output === 'json', isWatched };
    },
    ['[service]', 'namespace/name of a Service, to show only it'],
  );
  command(
    'connections',
    ({ stateDir, output, last }, service) => {
      return { command: 'connections', stateDir, service: serviceName(service), last, isJson: output === 'json' };
    },
    ['[service]', 'namespace/name of a Service, to show only those to it'],
  );
  for (const verb of ['drain', 'undrain'] as const)
    command(verb, ({ stateDir }, target = '') => ({ command: verb, stateDir, target }), [
      '<target>',
      'name of a node, or namespace/name of a Service',
    ]);
  program
    .command('version')
    .description('Print the version.')
    .action(() => {
      invocation = { command: 'version' };
    });

  for (const each of [program, ...program.commands]) {
    each
      .exitOverride()
      .helpOption('-h, --help', 'show this help')
      .configureHelp({ optionDescription: describeOption })
      .configureOutput({
        writeOut: deps.write,
        writeErr: deps.writeError,
        getOutHelpWidth: () => deps.columns,
        getErrHelpWidth: () => deps.columns,
      })
      .showHelpAfterError(`See '${each === program ? 'furiwake' : `furiwake ${each.name()}`} --help'.`);
  }
  try {
    const names = program.commands.map((each) => each.name());
    program.parse(parsedAs(args, [...names, 'help']), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { command: 'none', exitCode: error.exitCode === 0 ? 0 : 2 };
  }
  return invocation ?? { command: 'none', exitCode: 2 };
}

function serviceName(argument: string | undefined): string | undefined {
  if (argument !== undefined && !isServiceName(argument))
    throw new UsageError(`invalid Service ${JSON.stringify(argument)}: expected namespace/name, e.g. shop/web`);
  return argument;
}

/** `-V` is an alias; help on a command that does not exist is an unknown command, of which commander would say nothing. */
function parsedAs(args: readonly string[], names: readonly string[]): readonly string[] {
  const [first, second] = args;
  if (first === '-V') return ['--version'];
  return first === 'help' && second !== undefined && !names.includes(second) ? args.slice(1) : args;
}
