// An SMSC made of npm "smpp": answers after 10 ms, delivers receipts and one reply, prints what came as JSON lines.
// node smsc.js <window after which it throttles>
const smpp = require('smpp');
smpp.addTLV('client_reference', { id: 0x1401, type: smpp.types.tlv.string });
const most = Number(process.argv[2] || 0);
const receivers = new Set();
const waiting = [];
let next = 0;

function tell(session, fields) {
  session.deliver_sm(fields, (answer) => console.log(JSON.stringify({ told: answer.command_status })));
}

function deliver(fields) {
  const [session] = receivers;
  if (session) tell(session, fields);
  else waiting.push(fields);
}

function bound(session, receives) {
  return (pdu) => {
    if (pdu.password !== 'sandbox') {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      return;
    }
    session.send(pdu.response({ system_id: 'node' }));
    if (receives) {
      receivers.add(session);
      while (waiting.length) tell(session, waiting.shift());
    }
  };
}

const server = smpp.createServer((session) => {
  let outstanding = 0;
  session.on('error', () => {});
  session.on('close', () => receivers.delete(session));
  session.on('bind_transceiver', bound(session, true));
  session.on('bind_receiver', bound(session, true));
  session.on('bind_transmitter', bound(session, false));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { receivers.delete(session); session.send(pdu.response()); session.close(); });
  session.on('submit_sm', (pdu) => {
    outstanding += 1;
    const crowded = most && outstanding > most;
    setTimeout(() => {
      outstanding -= 1;
      if (crowded) {
        session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
        return;
      }
      next += 1;
      const id = next.toString(16).toUpperCase().padStart(8, '0');
      const udh = pdu.short_message.udh;
      console.log(JSON.stringify({
        id, to: pdu.destination_addr, from: pdu.source_addr, ton: pdu.source_addr_ton, coding: pdu.data_coding,
        text: pdu.short_message.message, udh: udh ? udh.map((part) => part.toString('hex')).join('') : '',
        attempt: pdu.client_reference || '', receipt: pdu.registered_delivery, validity: String(pdu.validity_period),
      }));
      session.send(pdu.response({ message_id: id }));
      if (pdu.registered_delivery) {
        deliver({
          source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4, source_addr_ton: 1,
          short_message: `id:${parseInt(id, 16).toString().padStart(10, '0')} sub:001 dlvrd:001 submit date:2611231530 `
            + 'done date:2611231531 stat:DELIVRD err:000 text:',
          client_reference: pdu.client_reference,
        });
        if (next === 1) deliver({ source_addr: pdu.destination_addr, source_addr_ton: 1, destination_addr: '10690000', short_message: '退订' });
      }
    }, 10);
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
