/** One reply: words, tools and what comes of them, refusals, and what is said while nothing else is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { historyOf } from '#sessions/history.ts';
import { withoutFillers } from '#sessions/speaker-fillers.ts';
import { languageOfPiece } from '#sessions/speaker-voice.ts';
import { AGENT, settle } from './_fakes.ts';
import { FILLER, speakerRig, toolCall, voiceOf } from './_speaker-rig.ts';

const REFUSED = new AppError('E_PROVIDER_CONTENT', 'scripted refusal');

test('the model is heard out while its first words are still being made', async () => {
  const rounds = [['One. ', 'And two. ', 'And three. ', 'And four.']];
  const rig = speakerRig({ rounds, voiceMs: 5000 });
  const { utterance, spoken } = rig.reply();
  await rig.pass(100);
  assert.deepEqual(rig.finishedMs, [0]);
  const first = rig.asked.map(({ text }) => text);
  assert.deepEqual(first, ['One.'], 'the next waits for the first sound');
  await rig.pass(40_000);
  assert.deepEqual(await spoken, { endCall: false, empty: false });
  assert.equal(utterance.text, 'One. And two. And three. And four.');
});

test('tools of one round work at the same time, and answer in order', async () => {
  const rig = speakerRig({
    rounds: [['Let me see. ', toolCall('slow'), toolCall('fast')], ['Here it is.']],
    answers: { slow: [1000, {}], fast: [200, {}] },
  });
  const { utterance, spoken } = rig.reply();
  await rig.pass(5000);
  await spoken;
  assert.deepEqual(rig.tools, ['+slow', '+fast', '=fast', '=slow']);
  const told = rig.requests[1]?.messages.slice(-3);
  assert.deepEqual(
    told?.[0]?.toolCalls?.map(({ name }) => name),
    ['slow', 'fast'],
  );
  assert.deepEqual(
    told?.slice(1).map(({ content, toolCallId }) => [content, toolCallId]),
    [
      ['"slow"', 'slow'],
      ['"fast"', 'fast'],
    ],
  );
  assert.equal(utterance.text, 'Let me see. Here it is.');
});

test('cutting in during a tool ends the wait at once and says nothing more', async () => {
  const rig = speakerRig({
    agent: { filler: FILLER },
    rounds: [['Let me see. ', toolCall('order')], ['Done.']],
    answers: { order: [3000, {}] },
  });
  const { utterance, spoken } = rig.reply();
  await rig.pass(1500);
  const cut = assert.rejects(spoken, { code: 'E_ABORTED' });
  utterance.abort.abort();
  rig.media.flush();
  await cut;
  await rig.pass(20_000);
  assert.deepEqual(rig.tools, ['+order', '-order', '=order']);
  assert.equal(rig.requests.length, 1);
  assert.deepEqual(
    rig.asked.map(({ text }) => text),
    ['Let me see.'],
  );
  assert.equal(rig.clock.pending, 0);
});

test('what comes of tools: the call ends, with a word; sound is played; another goes on', async () => {
  const ends = speakerRig({
    rounds: [['Bye then. ', toolCall('end_call')]],
    answers: { end_call: [0, { effect: { kind: 'end_call' } }] },
  });
  const first = ends.reply();
  await ends.pass(3000);
  assert.deepEqual(await first.spoken, { endCall: true, empty: false });
  assert.equal(first.utterance.text, 'Bye then.');
  assert.equal(ends.requests.length, 1);

  const wordless = speakerRig({
    rounds: [[toolCall('end_call')]],
    answers: { end_call: [0, { effect: { kind: 'end_call' } }] },
  });
  const second = wordless.reply();
  await wordless.pass(8000);
  assert.equal((await second.spoken).endCall, true);
  assert.equal(second.utterance.text, 'Thank you for calling. Goodbye.');

  const plays = speakerRig({
    rounds: [['Listen. ', toolCall('play_audio')], ['Nice.']],
    answers: {
      play_audio: [0, { effect: { kind: 'play', pcm: new Int16Array(8000), title: '[tune]' } }],
    },
  });
  const third = plays.reply();
  await plays.pass(5000);
  await third.spoken;
  assert.equal(third.utterance.text, 'Listen. [tune] Nice.');
  assert.equal(third.utterance.audioMs, 700 + 1000 + 500);
});

test('another agent goes on in the same breath, with its own voice and words', async () => {
  const rig = speakerRig({
    rounds: [['Over to Bob. ', toolCall('hand_off')], ['never asked']],
    answers: {},
    options: {},
  });
  const bob = voiceOf(rig.clock, { ...AGENT, name: 'Bob', voice: 'bob' }, [['Bob here.']], {
    ...{ requests: rig.requests, asked: rig.asked, voiceMs: 0 },
  });
  const handing = speakerRig({
    rounds: [['Over to Bob. ', toolCall('hand_off')], ['never asked']],
    answers: {
      hand_off: [100, { effect: { kind: 'hand_off', agentId: 'b', summary: 's', voice: bob } }],
    },
  });
  const { utterance, spoken } = handing.reply();
  await handing.pass(5000);
  await spoken;
  assert.equal(utterance.text, 'Over to Bob. Bob here.');
  assert.equal(handing.requests.length, 1, 'the first model is not asked again');
  assert.deepEqual(
    rig.asked.map(({ text, voice }) => [text, voice]),
    [['Bob here.', 'bob']],
  );
});

test('a refusal by moderation speaks the phrase for it, after what was said before, and is no failure', async () => {
  const rows = [
    [{ fallbackPhrase: 'Not that.' }, [REFUSED], 'Not that.'],
    [{}, [REFUSED], 'Sorry, I cannot help with that. You can ask me something else.'],
    [{ language: 'zh' }, [REFUSED], '抱歉，这个问题我没法回答。您可以换个问题问我。'],
    [
      { fallbackPhrase: 'Not that.' },
      ['Well, to begin with. ', REFUSED],
      'Well, to begin with. Not that.',
    ],
  ] as const;
  for (const [agent, steps, text] of rows) {
    const rig = speakerRig({ agent, rounds: [steps] });
    const { utterance, spoken } = rig.reply();
    await rig.pass(12_000);
    assert.deepEqual(await spoken, { endCall: false, empty: false });
    assert.equal(utterance.text, text);
    assert.deepEqual(rig.faults, ['E_PROVIDER_CONTENT']);
    assert.equal(rig.requests.length, 1, 'asking again is in vain');
  }
});

test('a voice that refuses a piece is a refusal too', async () => {
  const rig = speakerRig({ rounds: [['Well, yes. ', 'The forbidden word. ', 'And so on.']] });
  const { utterance, spoken } = rig.reply();
  await rig.pass(12_000);
  assert.equal((await spoken).endCall, false);
  const withheld = 'Sorry, I cannot help with that. You can ask me something else.';
  assert.equal(utterance.text, `Well, yes. ${withheld}`);
  assert.deepEqual(rig.faults, ['E_PROVIDER_CONTENT']);
});

test('another failure is one, after what was said before it', async () => {
  const rig = speakerRig({
    rounds: [['Well, yes. ', new AppError('E_PROVIDER_SERVER', 'scripted')]],
  });
  const { utterance, spoken } = rig.reply();
  const failed = assert.rejects(spoken, { code: 'E_PROVIDER_SERVER' });
  await rig.pass(3000);
  await failed;
  assert.equal(utterance.text, 'Well, yes.');
  assert.equal(rig.clock.pending, 0);
});

test('a slow tool is covered after 2 s, again at 10 s, by another phrase each time, and not over words', async () => {
  const rig = speakerRig({
    agent: { filler: FILLER },
    rounds: [['I will look that up for you now. ', toolCall('find')], ['Found.']],
    answers: { find: [14_000, {}] },
  });
  const { utterance, spoken } = rig.reply();
  const wordsMs = 'I will look that up for you now.'.length * 100;
  await rig.pass(wordsMs + 1900);
  assert.equal(rig.asked.length, 1, 'its own words are heard first, and 2 s after them');
  await rig.pass(200);
  const [, short] = rig.asked;
  assert.ok(short !== undefined && short.keep === 'always');
  await rig.pass(7000);
  const [, , long] = rig.asked;
  assert.match(long?.text ?? '', /^(?:I am still checking|Thank you for your patience)/);
  await rig.pass(20_000);
  await spoken;
  assert.equal(
    utterance.text,
    `I will look that up for you now. ${short.text} ${long?.text} Found.`,
  );
  assert.equal(rig.clock.pending, 0);
});

test('a call hears different phrases, or the agent’s own', async () => {
  const find = {
    rounds: [[toolCall('find')], ['Ok.'], [toolCall('find')], ['Ok.'], [toolCall('find')], ['Ok.']],
  };
  const answers = { find: [2500, {}] } as const;
  const rig = speakerRig({ agent: { filler: FILLER }, ...find, answers });
  const heard: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { utterance, spoken } = rig.reply();
    await rig.pass(10_000);
    await spoken;
    heard.push(utterance.text.replace(' Ok.', ''));
  }
  assert.notEqual(heard[0], heard[1]);
  assert.notEqual(heard[1], heard[2]);
  const own = speakerRig({ agent: { filler: { ...FILLER, text: 'Hold on.' } }, ...find, answers });
  const { utterance, spoken } = own.reply();
  await own.pass(10_000);
  await spoken;
  assert.equal(utterance.text, 'Hold on. Ok.');
});

test('a model that is silent is covered sooner; one that answers, or an agent without fillers, is not', async () => {
  const slow = [[4000, 'Here I am.']] as const;
  const covered = speakerRig({ agent: { filler: FILLER }, rounds: slow });
  const first = covered.reply();
  await covered.pass(1150);
  assert.equal(covered.asked.length, 0);
  await covered.pass(100);
  assert.equal(covered.asked.length, 1);
  await covered.pass(8000);
  await first.spoken;
  assert.match(first.utterance.text, /^(?:Let me see|One second, please)\. Here I am\.$/);
  for (const [agent, rounds] of [
    [{ filler: FILLER }, [[900, 'Here I am.']]],
    [{}, slow],
    [{ filler: { ...FILLER, afterMs: 60_000 } }, slow],
  ] as const) {
    const rig = speakerRig({ agent, rounds });
    const { utterance, spoken } = rig.reply();
    await rig.pass(8000);
    await spoken;
    assert.equal(utterance.text, 'Here I am.');
  }
});

test('a tool that waits for the caller is not talked over, and begins when the words before it are queued', async () => {
  const rig = speakerRig({
    agent: { filler: FILLER },
    rounds: [['Please enter your code. ', toolCall('collect_dtmf')], ['Thanks.']],
    answers: { collect_dtmf: [9000, {}] },
    quiet: ['collect_dtmf'],
    voiceMs: 500,
  });
  const { utterance, spoken } = rig.reply();
  await rig.pass(400);
  assert.deepEqual(rig.tools, []);
  await rig.pass(200);
  assert.deepEqual(rig.tools, ['+collect_dtmf']);
  assert.ok(rig.speaker.soundLeftMs > 2000, `${rig.speaker.soundLeftMs} ms`);
  await rig.pass(20_000);
  await spoken;
  assert.equal(utterance.text, 'Please enter your code. Thanks.');
});

test('fillers are heard and told, but are not the model’s words', async () => {
  const agent = { ...AGENT, systemPrompt: '', filler: { ...FILLER, text: 'Hold on.' } };
  const said = (content: string, interrupted?: true) =>
    ({
      role: 'assistant',
      content,
      timestamp: 0,
      ...(interrupted ? { interrupted } : {}),
    }) as const;
  const messages = [
    said('Sure. Hold on. It is here.'),
    said('好的。稍等，我查一下。找到了。'),
    said('One moment, let me', true),
    said('Hold on.'),
  ];
  assert.deepEqual(
    historyOf(agent, messages).map(({ content }) => content),
    ['Sure. It is here.', '好的。找到了。'],
  );
  assert.equal(withoutFillers('Hold on.', undefined), 'Hold on.');
  assert.equal(withoutFillers('好的', FILLER, true), '好的');
});

test('the language of a piece is that of its words; a few foreign ones change nothing', () => {
  const rows = [
    ['您好，请问有什么可以帮您？', 'en', 'zh'],
    ['我们的 App 支持 Apple Pay 付款。', 'zh', 'zh'],
    ['OK。', 'zh', 'zh'],
    ['Thank you very much for calling.', 'zh', 'en'],
    ['The word 你好 means hello.', 'en', 'en'],
    ['123。', 'zh', 'zh'],
    ['123.', 'en', 'en'],
    ['OK，我明白了。', 'en', 'zh'],
  ] as const;
  for (const [text, present, language] of rows)
    assert.equal(languageOfPiece(text, present), language, text);
});

test('each language has its own voice, and figures are said in it', async () => {
  const rig = speakerRig({
    agent: {
      ...{ language: 'zh', voice: 'main' },
      vendorOptions: { stt: {}, llm: {}, realtime: {}, tts: { voices: { zh: 'mei', en: 'amy' } } },
    },
    rounds: [['共有3个。', 'You have 3 items in all. ', '好的，没有问题。']],
  });
  const { utterance, spoken } = rig.reply();
  await rig.pass(8000);
  await spoken;
  assert.deepEqual(
    rig.asked.map(({ text, language, voice }) => [text, language, voice]),
    [
      ['共有三个。', 'zh', 'mei'],
      ['You have three items in all.', 'en', 'amy'],
      ['好的，没有问题。', 'zh', 'mei'],
    ],
  );
  assert.equal(
    utterance.text,
    '共有3个。You have 3 items in all. 好的，没有问题。'.replace('. 好', '.好'),
  );
  const plain = speakerRig({
    agent: { vendorOptions: { stt: {}, llm: {}, realtime: {}, tts: { spoken_form: false } } },
    rounds: [['You have 3 items.']],
  });
  const other = plain.reply();
  await plain.pass(4000);
  await other.spoken;
  assert.deepEqual(
    plain.asked.map(({ text }) => text),
    ['You have 3 items.'],
  );
});

test('a reply that was begun ahead is gone on with', async () => {
  const rig = speakerRig({
    rounds: [['never asked']],
    options: {
      drafts: {
        take: (llm, request) =>
          llm.reply === undefined || request.input.kind !== 'speech'
            ? null
            : (async function* () {
                await Promise.resolve();
                yield { type: 'text', text: 'From the draft.' };
                return undefined;
              })(),
      },
    },
  });
  const { utterance, spoken } = rig.reply();
  await rig.pass(3000);
  await spoken;
  assert.equal(utterance.text, 'From the draft.');
  assert.equal(rig.requests.length, 0);
  const ahead = await rig.speaker.ahead({ input: 'tea', message: 'tea please' });
  assert.deepEqual(ahead?.request.messages, [{ role: 'user', content: 'tea please' }]);
  assert.deepEqual(ahead.request.input, { kind: 'speech', text: 'tea', audio: null });
});

test('whenever the caller cuts in, nothing goes on behind his back', async () => {
  for (let atMs = 0; atMs <= 6000; atMs += 250) {
    const rig = speakerRig({
      agent: { filler: FILLER },
      rounds: [
        ['Well, let me see. ', 300, toolCall('find')],
        ['Found it. ', 200, 'All is well now.'],
      ],
      answers: { find: [2600, {}] },
      voiceMs: 120,
    });
    const { utterance, spoken } = rig.reply();
    const end = spoken.then(
      () => 'done',
      (error: unknown) => (error as AppError).code,
    );
    await rig.pass(atMs);
    utterance.abort.abort();
    rig.media.flush();
    await settle();
    const asked = rig.asked.length;
    const { audioMs, text } = utterance;
    await rig.pass(15_000);
    assert.ok(['done', 'E_ABORTED'].includes(await end));
    assert.equal(rig.asked.length, asked, `at ${atMs} ms`);
    assert.deepEqual([utterance.audioMs, utterance.text], [audioMs, text]);
    assert.ok(rig.tools.filter((entry) => entry === '+find').length <= 1);
    assert.equal(rig.clock.pending, 0, `timers at ${atMs} ms`);
  }
});

test('a model that breaks off before a word could be said is asked once more, and not after one', async () => {
  const broken = new AppError('E_PROVIDER_SERVER', 'scripted');
  const rig = speakerRig({ rounds: [['Very well, the or', broken], ['Very well. Done.']] });
  const { utterance, spoken } = rig.reply();
  await rig.pass(5000);
  assert.deepEqual(await spoken, { endCall: false, empty: false });
  assert.equal(utterance.text, 'Very well. Done.');
  assert.deepEqual([rig.requests.length, rig.faults], [2, ['E_PROVIDER_SERVER']]);
  const rows: readonly (readonly [readonly (readonly (string | AppError)[])[], number])[] = [
    [[['Very well. And the or', broken], ['Not asked.']], 1],
    [[['Ver', broken], ['Ver', broken], ['Not asked.']], 2],
    [[['Ver', new AppError('E_PROVIDER_AUTH', 'scripted')], ['Not asked.']], 1],
  ];
  for (const [rounds, asked] of rows) {
    const other = speakerRig({ rounds });
    const failed = assert.rejects(other.reply().spoken, /scripted/);
    await other.pass(5000);
    await failed;
    assert.equal(other.requests.length, asked);
    assert.equal(other.clock.pending, 0);
  }
});
