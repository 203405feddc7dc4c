// Was the event of this webhook-id acted on already? Echora sends a call until it is answered, so it may come again.
const { seen = [] } = $getWorkflowStaticData('global');
const call = $input.first().json;
return [{ json: { ...call, repeat: seen.includes(call.id) } }];
